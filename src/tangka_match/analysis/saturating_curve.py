"""Saturating power-law learning curve: recall as a function of the number of training pairs.

R(n) = a - b · n^-c, with b >= 0, c > 0 and a <= 100: the error decreases by a power law towards an irreducible error.
This form extrapolates best among those compared by Viering and Loog 2022, "The shape of learning curves: a review", and
Mahmood et al. 2022, "How much more data do I need?" (arXiv:2207.01725), use it to estimate the data that a target
needs.

A few points determine three parameters poorly, and the likelihood is far from normal, so intervals are *profile
likelihood* intervals (Venzon and Moolgavkar 1988): R(n) = r is in the interval if the misfit of the best curve through
(n, r) exceeds the minimum by less than the square of Student's t. They extend to infinity if the points allow it, which
a bootstrap over the points does not reveal. On points drawn from known curves they cover the truth in 95 % of cases or
slightly more (``tests/property/test_saturating_curve.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from scipy.stats import f, t
from torch import Tensor

from tangka_match.analysis.significance import LEVEL
from tangka_match.errors import ConfigError
from tangka_match.metrics import Ranks
from tangka_match.metrics.intervals import draw_images

Array = npt.NDArray[np.float64]

MAX_EXTRAPOLATION = 100
"""Largest extrapolation, as a multiple of the largest training size."""
FEWEST_SIZES = 3
"""Fewest different training sizes that determine a curve."""
EXPONENTS = np.geomspace(0.02, 3.0, 80)
"""Grid of the exponent c. The smallest is practically logarithmic growth up to the largest extrapolation."""
RECALLS = np.linspace(0.0, 100.0, 1001)
"""Grid of recalls (percent) on which the ends of an interval are searched, with a resolution of 0.1 points."""
STEPS = 600
"""Grid points for the number of pairs, evenly spaced in the logarithm: 3 % apart for 2,910 pairs."""
RESAMPLES = 2000
"""Bootstrap samples for the covariance of the points."""


class MeasuredPoints(NamedTuple):
    """Mean R@1 at K training sizes with S seeds each.

    Attributes:
        recalls: (K, S) mean R@1, in percent.
        covariance: (K, K) covariance of the means over seeds.
        freedom: Degrees of freedom of the between-seed variance, K · (S - 1).
    """

    recalls: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    freedom: int


def measure_points(ranks: Sequence[Sequence[Ranks]], caption_to_image: Int[Tensor, " C"]) -> MeasuredPoints:
    """Compute recalls and their covariance from a bootstrap over images and the variance between seeds.

    All runs are evaluated on the same queries, so easy queries raise all points together: the bootstrap, which draws
    each image with its captions, gives this covariance. The variance between seeds (weights, batch order, and the
    training images drawn) exceeds the bootstrap variance of a single run; the excess, pooled over sizes because S is
    small, is added to the variance of each point. Seeds of different sizes count as independent.

    Args:
        ranks: Ranks of each seed at each size; at least two seeds, and the same number at each size.
        caption_to_image: (C,) row of each caption's image, the same for all runs.

    Raises:
        ConfigError: If a size has fewer than two seeds, or the sizes have different numbers of seeds.
    """
    counts = sorted({len(seeds) for seeds in ranks})
    if len(counts) != 1 or counts[0] < 2:
        raise ConfigError(
            f"the sizes have {', '.join(map(str, counts))} seeds; allowed: at least two, and the same number at each "
            "size, because a single seed does not measure the variance between seeds"
        )
    sizes, seeds = len(ranks), counts[0]
    owners, runs = caption_to_image.cpu(), [run for of_size in ranks for run in of_size]
    images = len(runs[0].i2t)
    captions = torch.bincount(owners, minlength=images).double()
    i2t = torch.stack([(run.i2t.cpu() == 1).double() for run in runs], dim=1)
    t2i = torch.zeros_like(i2t).index_add_(0, owners, torch.stack([(r.t2i.cpu() == 1).double() for r in runs], dim=1))

    def recalls_of(drawn: Tensor) -> npt.NDArray[np.float64]:
        values = 50.0 * (drawn @ i2t / images + (drawn @ t2i) / (drawn @ captions)[:, None])
        return values.numpy().reshape(len(drawn), sizes, seeds)

    found = recalls_of(torch.ones(1, images, dtype=torch.float64))[0]
    drawn = recalls_of(draw_images(images, RESAMPLES, torch.Generator().manual_seed(0)))
    means = drawn.mean(axis=2)
    queries = np.atleast_2d(np.cov(means.T))
    freedom = sizes * (seeds - 1)
    own_answers = (drawn - means[..., None]).var(axis=0).sum() / freedom
    between = ((found - found.mean(axis=1, keepdims=True)) ** 2).sum() / freedom
    # At least the effect of one query, or the variance of recalls of 0 would be 0.
    rest = max(between - own_answers, 0.0) / seeds
    return MeasuredPoints(found, queries + max(rest, (50.0 / images) ** 2) * np.eye(sizes), freedom)


class PairsNeeded(NamedTuple):
    """Number of training pairs that a target needs, with its 95 % interval.

    Attributes:
        pairs: Estimate by the best curve; ``None`` if it does not reach the target within `MAX_EXTRAPOLATION` times the
            largest size.
        low: Lower end of the interval; ``None`` if no curve that fits reaches the target.
        high: Upper end; ``None`` if a curve that fits never reaches the target.
    """

    pairs: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class SaturatingCurve:
    """Saturating curve fitted to K points by generalised least squares.

    Args:
        pairs: (K,) training pairs, with at least `FEWEST_SIZES` different values.
        recalls: (K,) recalls, in percent.
        covariance: (K, K) covariance of the recalls, positive definite.
        freedom: Degrees of freedom of the covariance, at least 1.

    Raises:
        ConfigError: If there are too few sizes.

    Example:
        Recalls of 60 - 400 / sqrt(n), with a standard error of 0.2 points: 50 at n = 1,600, and never above 60:

        >>> sizes = [400, 800, 1200, 1600]
        >>> curve = SaturatingCurve(sizes, [60 - 400 / n**0.5 for n in sizes], 0.04 * np.eye(4), freedom=8)
        >>> round(curve.at(1600), 1), round(curve.asymptote), round(curve.pairs_for(45).pairs, -1)
        (50.0, 60, 710.0)
        >>> curve.pairs_for(90)
        PairsNeeded(pairs=None, low=None, high=None)
    """

    pairs: Sequence[float]
    recalls: Sequence[float]
    covariance: Array
    freedom: float

    def __post_init__(self) -> None:
        if len(set(self.pairs)) < FEWEST_SIZES:
            raise ConfigError(
                f"{len(set(self.pairs))} training sizes do not determine a learning curve; use at least {FEWEST_SIZES}"
            )

    def at(self, pairs: float) -> float:
        """Return the recall of the best curve at a number of pairs, in percent."""
        recall, slope, exponent = self._best
        return float(recall + slope * (1.0 - (pairs / max(self.pairs)) ** -exponent))

    @property
    def asymptote(self) -> float:
        """Asymptote a of the best curve, in percent; usually imprecise."""
        recall, slope, _ = self._best
        return float(recall + slope)

    @property
    def exponent(self) -> float:
        """Exponent c of the best curve."""
        return float(self._best[2])

    @cached_property
    def misfit(self) -> float:
        """p-value of the goodness-of-fit test; small if the growth has another form.

        1 with three rising sizes, since three parameters usually fit them exactly.
        """
        spare = len(set(self.pairs)) - (1 if self._best[1] == 0.0 else FEWEST_SIZES)
        return float(f.sf(self._least / spare, spare, self.freedom)) if spare else 1.0

    def interval_at(self, pairs: float) -> tuple[float, float]:
        """Return the 95 % interval of the recall at a number of pairs, in percent, to 0.1 points."""
        allowed = RECALLS[self._allowed(np.array([float(pairs)]), RECALLS)]
        best = self.at(pairs)  # may lie between two grid points
        return min([best, *allowed.tolist()]), max([best, *allowed.tolist()])

    def pairs_for(self, target: float) -> PairsNeeded:
        """Estimate the number of pairs at which the recall reaches a target.

        Args:
            target: Target recall, in percent, in (0, 100).
        """
        sizes = np.geomspace(1.0, MAX_EXTRAPOLATION * max(self.pairs), STEPS)
        allowed = sizes[self._allowed(sizes, np.array([float(target)]))]
        end = float(sizes[-1])
        pairs = self._reached(target)
        if len(allowed) == 0:  # the interval lies between two grid points, or no curve reaches the target
            inside = pairs is not None and pairs <= end
            return PairsNeeded(pairs, pairs, pairs) if inside else PairsNeeded(None, None, None)
        high = None if allowed[-1] == end or self.interval_at(end)[0] < target else float(allowed[-1])
        return PairsNeeded(pairs if pairs is not None and pairs <= end else None, float(allowed[0]), high)

    def _reached(self, target: float) -> float | None:
        recall, slope, exponent = self._best
        if slope == 0.0:  # flat: reached at the first pair, or never
            return 1.0 if target <= recall else None
        if target >= recall + slope:
            return None
        return float(max(self.pairs) * np.exp(-log((recall + slope - target) / slope) / exponent))

    @cached_property
    def _weights(self) -> Array:
        return np.linalg.inv(self.covariance).astype(np.float64)

    @cached_property
    def _shares(self) -> Array:
        """Sizes relative to the largest, which keeps their powers in range."""
        return np.asarray(self.pairs, dtype=np.float64) / max(self.pairs)

    @cached_property
    def _best(self) -> tuple[float, float, float]:
        """Recall at the largest size, slope b there, and exponent c of the curve with the smallest misfit.

        The misfit is smooth in the recall, so the grid is refined around its minimum.
        """
        recalls = RECALLS
        for _ in range(3):
            misfit, slopes = self._misfits(np.array([1.0]), recalls)
            row, column = np.unravel_index(int(misfit.argmin()), misfit.shape)
            step = recalls[1] - recalls[0]
            found = float(recalls[row]), float(slopes[row, column]), float(EXPONENTS[column])
            recalls = np.clip(np.linspace(found[0] - step, found[0] + step, 41), 0.0, 100.0)
        return found

    @cached_property
    def _least(self) -> float:
        """Misfit of the best curve."""
        recall, _, _ = self._best
        return float(self._misfits(np.array([1.0]), np.array([recall]))[0].min())

    def _allowed(self, pairs: Array, recalls: Array) -> npt.NDArray[np.bool_]:
        """Whether a curve that fits passes through (pairs, recall); the arguments broadcast."""
        misfit, _ = self._misfits(pairs / max(self.pairs), recalls)
        return misfit.min(axis=1) - self._least <= t.ppf((1 + LEVEL) / 2, self.freedom) ** 2

    def _misfits(self, share: Array, recall: Array) -> tuple[Array, Array]:
        """Fit the best curve through each point, for each exponent, by generalised least squares.

        A curve through (x, r), with relative sizes: R(s) = r + b · (x^-c - s^-c), with b >= 0 and r + b · x^-c <= 100.

        Returns:
            Misfit (N, exponents), and b (N, exponents).
        """
        start = share[:, None] ** -EXPONENTS
        rise = start[..., None] - self._shares ** -EXPONENTS[:, None]
        rest = np.asarray(self.recalls, dtype=np.float64) - recall[:, None]
        weighted = rest @ self._weights
        along = (rise @ weighted[..., None])[..., 0]
        curvature = ((rise @ self._weights) * rise).sum(axis=2)
        most = (100.0 - recall)[:, None] / start
        slope = np.clip(along / np.maximum(curvature, np.finfo(np.float64).tiny), 0.0, most)
        misfit = (weighted * rest).sum(axis=1)[:, None] - 2 * slope * along + slope**2 * curvature
        return misfit, slope
