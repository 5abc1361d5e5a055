"""A saturating curve through recalls at several training sizes: how many pairs would a target take?

R(n) = a - b · n^-c, with b >= 0, c > 0 and a <= 100: the error falls by a power law to what no data of this kind takes
away. This form extrapolates best among those compared by Viering and Loog 2022, "The shape of learning curves: a
review", and is the one by which Mahmood et al. 2022, "How much more data do I need?" (arXiv:2207.01725), answer the
same question.

Three parameters of a few points are badly known, and the likelihood is far from normal, so intervals are by *profile
likelihood* (Venzon and Moolgavkar 1988): R(n) may be r if some curve through (n, r) fits the points worse by less than
the square of Student's t. They open up to infinity where the points allow it, which resampling the points and fitting
again does not show. On points drawn from known curves they hold the truth in 95 % or a little more
(``tests/property/test_saturating_curve.py``).
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

from tangka_match.errors import ConfigError
from tangka_match.metrics import Ranks
from tangka_match.metrics.intervals import draw_images

Array = npt.NDArray[np.float64]

MOST_TIMES = 100
"""Sizes up to so many times the largest point are looked at; what is not reached by then is not reached this way."""
FEWEST_SIZES = 3
LEVEL = 0.95
EXPONENTS = np.geomspace(0.02, 3.0, 80)
"""Of c. The smallest is growth with the logarithm of n, for as far as is looked."""
RECALLS = np.linspace(0.0, 100.0, 1001)
"""Values among which the ends of an interval are found: they are known to 0.1 points."""
STEPS = 600
"""Sizes among which the number of pairs is found, evenly spread over their logarithm: 3 % apart for 2,910 pairs."""


class PairsNeeded(NamedTuple):
    """Pairs that a target takes.

    Attributes:
        pairs: Of the best curve; ``None`` where that does not reach the target within `MOST_TIMES` the largest point.
        low: Fewest pairs that any curve allows which fits; ``None`` where none reaches the target: not reachable.
        high: Most pairs; ``None`` where a curve that fits does not reach the target.
    """

    pairs: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class SaturatingCurve:
    """The curves that fit K points, the best of them first.

    Args:
        pairs: (K,) training pairs, at least `FEWEST_SIZES` different numbers.
        recalls: (K,) in percent.
        covariance: (K, K) of the recalls, positive definite.
        freedom: Degrees of freedom with which the covariance is known, at least 1.

    Raises:
        ConfigError: If there are too few sizes.

    Example:
        Recalls of 60 - 400 / sqrt(n), known to 0.2 points. At n = 1,600 that is 50, and 60 is never exceeded:

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
                f"a curve through {len(set(self.pairs))} training sizes would be a guess; give at least {FEWEST_SIZES}"
            )

    def at(self, pairs: float) -> float:
        """Recall of the best curve at this size, in percent."""
        recall, slope, exponent = self._best
        return float(recall + slope * (1.0 - (pairs / max(self.pairs)) ** -exponent))

    @property
    def asymptote(self) -> float:
        """What the best curve tends to, a, in percent; badly known, as a rule."""
        recall, slope, _ = self._best
        return float(recall + slope)

    @property
    def exponent(self) -> float:
        """Of the power by which the error falls, c."""
        return float(self._best[2])

    @cached_property
    def misfit(self) -> float:
        """How often points lie as far from the best curve were it true: p, small where the growth is of another form.

        1 with three sizes that grow, through which a curve goes as a rule.
        """
        spare = len(set(self.pairs)) - (1 if self._best[1] == 0.0 else FEWEST_SIZES)
        return float(f.sf(self._least / spare, spare, self.freedom)) if spare else 1.0

    def interval_at(self, pairs: float) -> tuple[float, float]:
        """95 % interval of the recall at this size, in percent, to 0.1 points."""
        allowed = RECALLS[self._allowed(np.array([float(pairs)]), RECALLS)]
        best = self.at(pairs)  # may lie between two of the values
        return min([best, *allowed.tolist()]), max([best, *allowed.tolist()])

    def pairs_for(self, target: float) -> PairsNeeded:
        """Pairs with which the recall reaches a target.

        Args:
            target: In percent, in (0, 100).
        """
        sizes = np.geomspace(1.0, MOST_TIMES * max(self.pairs), STEPS)
        allowed = sizes[self._allowed(sizes, np.array([float(target)]))]
        end = float(sizes[-1])
        pairs = self._reached(target)
        if len(allowed) == 0:  # a curve so well known that it passes between two sizes, or one that never gets there
            inside = pairs is not None and pairs <= end
            return PairsNeeded(pairs, pairs, pairs) if inside else PairsNeeded(None, None, None)
        high = None if allowed[-1] == end or self.interval_at(end)[0] < target else float(allowed[-1])
        return PairsNeeded(pairs if pairs is not None and pairs <= end else None, float(allowed[0]), high)

    def _reached(self, target: float) -> float | None:
        recall, slope, exponent = self._best
        if slope == 0.0:  # flat: there from the first pair on, or never
            return 1.0 if target <= recall else None
        if target >= recall + slope:
            return None
        return float(max(self.pairs) * np.exp(-log((recall + slope - target) / slope) / exponent))

    @cached_property
    def _weights(self) -> Array:
        return np.linalg.inv(self.covariance).astype(np.float64)

    @cached_property
    def _shares(self) -> Array:
        """Sizes as shares of the largest, which keeps powers of them in bounds."""
        return np.asarray(self.pairs, dtype=np.float64) / max(self.pairs)

    @cached_property
    def _best(self) -> tuple[float, float, float]:
        """Recall at the largest size, slope b there, and exponent c of the curve with the least misfit.

        The misfit is smooth in the recall: the grid's best is refined between its neighbours.
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
        """Whether a curve that fits passes through a size and a recall; either holds one value, or both as many."""
        misfit, _ = self._misfits(pairs / max(self.pairs), recalls)
        return misfit.min(axis=1) - self._least <= t.ppf((1 + LEVEL) / 2, self.freedom) ** 2

    def _misfits(self, share: Array, recall: Array) -> tuple[Array, Array]:
        """Generalised least squares of the best curve through each point, by exponent.

        A curve through (x, r), sizes as shares: R(s) = r + b · (x^-c - s^-c), with b >= 0 and r + b · x^-c <= 100.

        Returns:
            Misfit (N, exponents), and b.
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


RESAMPLES = 2000


class MeasuredPoints(NamedTuple):
    """Mean R@1 of K training sizes, S seeds each.

    Attributes:
        recalls: (K, S) in percent.
        covariance: (K, K) of the means over seeds.
        freedom: Degrees of freedom of the variance between seeds, K · (S - 1).
    """

    recalls: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    freedom: int


def measure_points(ranks: Sequence[Sequence[Ranks]], caption_to_image: Int[Tensor, " C"]) -> MeasuredPoints:
    """Recalls and their covariance, by a bootstrap over images and a variance between seeds.

    All runs answer the same queries, so an easy draw of queries lifts all points together: their covariance is that of
    the bootstrap, each image drawn with its captions. Between seeds (of weights, batches, and of the images drawn for
    the share) there is more than the bootstrap's own noise of single answers; that rest, pooled over sizes because S is
    small, is added to the variance of each point. Seeds of different sizes are taken for independent.

    Args:
        ranks: Of each size, its seeds: at least two, as many for each size.
        caption_to_image: The row of every caption's image, (C,); the same for all.

    Raises:
        ConfigError: If there are fewer than two seeds, or not as many for each size.
    """
    counts = sorted({len(seeds) for seeds in ranks})
    if len(counts) != 1 or counts[0] < 2:
        raise ConfigError(
            f"the sizes have {', '.join(map(str, counts))} seeds; allowed: at least two, as many for each size, "
            "because a single one does not say how much training varies"
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
    # At least what one answer more or less makes, or recalls of 0 everywhere would be known for certain.
    rest = max(between - own_answers, 0.0) / seeds
    return MeasuredPoints(found, queries + max(rest, (50.0 / images) ** 2) * np.eye(sizes), freedom)
