"""Significance tests for the difference of two models on the same queries.

The sampling unit is the image: an image is resampled, or exchanged between the sides, with all its captions, because
captions of an image are correlated. Both directions therefore vary together, and their mean is tested as one number.

**One model per side**: a paired permutation test (sign-flip test) over images, and the matching confidence interval.
The inference is for these two models on other queries of the same kind.

- *p-value* (Fisher 1935; Dror et al. 2018, "The hitchhiker's guide to testing statistical significance in NLP"): under
  the null hypothesis, the results of both models for an image are exchangeable. The mid-p is used (Lancaster 1961;
  Fagerland et al. 2013 for paired counts), because recalls are discrete and the ordinary p-value is conservative: its
  type I error is about 4 % at a level of 5 %.
- *Interval*: all differences that the same test does not reject (inversion of a permutation test, Good 2005, ch. 3;
  Garthwaite 1996), so the interval contains 0 if p >= 0.05, and excludes it or ends there if p < 0.05.

Calibration: on 5,000 simulated pairs of equal models with ragged captions, p is below 0.05 in 4.3 % (rsum) to 5.2 % of
cases, and in 5.1 % for mean R@1. On 2,000 pairs of models that differ by 6 points of R@1 and 3 ranks, the interval
misses the true difference in 4.3 to 5.8 % of cases, and in 4.5 and 4.7 % for mean ranks; a percentile bootstrap misses
the latter in 5.7 and 6.8 %, because resampling underestimates long tails.

**Several seeds per side**: a t-test for the difference of two recipes. The inference is for training again with other
seeds, evaluated on other queries. Seeds and images are crossed, since every seed is evaluated on every image.
Resampling both is not calibrated: the variance of single results would count at least twice (Owen 2007, "The pigeonhole
bootstrap"), while three resampled seeds have only two thirds of the seed variance; the type I error of such a test is
0.3 % to 10 % on simulated equal recipes. Each level therefore has its own variance estimate:

- *seeds*: the variance between seeds, pooled over both sides, with S + T - 2 degrees of freedom. It includes the
  variance of single results.
- *images*: the variance of a paired bootstrap, minus the part due to the variation of single seeds around the mean of
  their side.

Their sum and Student's t with Satterthwaite's (1946) degrees of freedom give the p-value and the interval. On 10,000
simulated pairs of equal recipes of each of eight kinds, from seeds without variance to seeds with ninety times the
variance of the images, p is below 0.05 in 4.8 to 5.8 % of cases with three seeds per side, 4.6 to 5.8 % with four, 4.4
to 5.5 % with five. Two seeds per side are too few to estimate the seed variance: 5.2 to 7.4 %.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from scipy.special import stdtr, stdtrit  # Student's t, without the 50 MB of scipy.stats
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.metric_names import CUTOFFS, DIRECTIONS, PRIMARY_METRIC
from tangka_match.metrics import Ranks
from tangka_match.metrics.intervals import draw_images
from tangka_match.metrics.recall import totals

LEVEL, ALPHA = 0.95, 0.05
"""Confidence level of the intervals, and significance level of the tests."""

SEARCH_RADIUS, BISECTIONS = 20.0, 24
"""Range, in standard errors, in which the ends of an interval are searched, and bisection steps."""

CHUNK_ELEMENTS = 2**18
"""Elements per chunk of draws (resamples x images), 2 MB per copy."""

DIRECTION_METRICS = (*(f"r{k}" for k in CUTOFFS), "mean_rank")
QUERY_METRICS = tuple(f"{direction}_{name}" for direction in DIRECTIONS for name in DIRECTION_METRICS)
METRICS = (*QUERY_METRICS, PRIMARY_METRIC, "rsum")
"""Compared metrics, by the names of `summarise`. The median rank is excluded: it is an integer on almost any set, so
its interval and p-value would be meaningless."""


class Difference(NamedTuple):
    """Difference of a metric between two sides, in percent or ranks.

    Attributes:
        a: Value of side a; with several seeds, their mean.
        b: Value of side b; with several seeds, their mean.
        difference: b - a.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end of the interval.
        p: Two-sided p-value, in [0, 1].
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float


class _Sums(NamedTuple):
    """Numerators and denominators of the metrics: sums over the queries of each image, and their number."""

    sums: Float[Tensor, "S I M"]
    sizes: Float[Tensor, "I M"]


def compare_ranks(
    a: Sequence[Ranks],
    b: Sequence[Ranks],
    caption_to_image: Int[Tensor, " C"],
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Compare two models, or two recipes with several seeds each, on the same queries.

    See the module docstring for the methods and their references.

    Args:
        a: Ranks of each seed of side a.
        b: Ranks of each seed of side b; either one seed per side, or at least two per side. Seeds are not paired.
        caption_to_image: (C,) row of each caption's image, the same for all.
        resamples: Number of permutations or, with several seeds per side, of bootstrap samples, >= 1,000.
        seed: Seed of the resampling.

    Returns:
        A `Difference` for each of `METRICS`.

    Raises:
        ConfigError: If ``resamples`` is too small, or only one side has several seeds.

    Example:
        200 pairs; b finds 15 images that a misses, and misses 5 that a finds. Two standard errors are 4.4 points:

        >>> found_by_a, found_by_b = torch.full((200,), 9), torch.full((200,), 9)
        >>> found_by_a[:70], found_by_b[5:85] = 1, 1
        >>> a, b = Ranks(found_by_a, found_by_a), Ranks(found_by_b, found_by_b)
        >>> r1 = compare_ranks([a], [b], torch.arange(200))["mean_r1"]
        >>> r1.difference, 0.5 < r1.low < 1.5, 9.0 < r1.high < 10.0, 0.02 < r1.p < 0.04
        (5.0, True, True, True)
    """
    _check(len(a), len(b), resamples)
    generator = torch.Generator().manual_seed(seed)
    parts_a, parts_b = _sums(a, caption_to_image.cpu()), _sums(b, caption_to_image.cpu())
    full_a, full_b = (_metrics(part.sums.sum(dim=1), part.sizes.sum(dim=0)) for part in (parts_a, parts_b))
    difference = full_b.mean(dim=0) - full_a.mean(dim=0)
    if len(a) == 1:
        # Exchanging sides does not change the number of queries, so the contribution of each image is constant.
        contributions = _metrics(parts_b.sums[0] - parts_a.sums[0], parts_a.sizes.sum(dim=0))
        test = sign_flip_test(contributions, resamples, generator)
        p_values, (low, high) = test.p_values(), test.interval(SEARCH_RADIUS * _squares(contributions, 0).sqrt())
    else:
        drawn = _bootstrap(parts_a, parts_b, resamples, generator)
        error, freedom = standard_error(full_a, full_b, *drawn, images=len(parts_a.sizes))
        p_values, low, high = t_test(difference, error, freedom)
    columns = (full_a.mean(dim=0), full_b.mean(dim=0), difference, low, high, p_values)
    rows = torch.stack(columns, dim=1).tolist()
    return {name: Difference(*row) for name, row in zip(METRICS, rows, strict=True)}


class SignFlipTest(NamedTuple):
    """Paired permutation test: the permutation distribution of M differences.

    Attributes:
        difference: (M,) observed differences.
        permuted: (N, M) differences with the sides of random images exchanged.
        mean_signs: (N, 1) mean sign of each permutation.
    """

    difference: Float[Tensor, " M"]
    permuted: Float[Tensor, "N M"]
    mean_signs: Float[Tensor, "N 1"]

    def p_values(self) -> Float[Tensor, " M"]:
        """Compute the two-sided mid-p, in (0, 1]; 1 if the difference is 0.

        The observed signs count as one more permutation, so p is never 0 (Phipson and Smyth 2010).
        """
        return self._mid_p(torch.zeros_like(self.difference))

    def interval(self, radius: Float[Tensor, " M"]) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
        """Compute the 95 % intervals: the differences that the test with the same permutations does not reject.

        To test a difference other than 0, an equal part of it is first subtracted from each image.

        Args:
            radius: (M,) range to search on both sides of the difference; with fewer than five images nothing can be
                rejected, and the interval is the whole range.
        """
        ends = []
        for side in (-1, 1):
            accepted, rejected = self.difference, self.difference + side * radius
            for _ in range(BISECTIONS):
                middle = (accepted + rejected) / 2
                inside = self._mid_p(middle) >= ALPHA
                accepted, rejected = torch.where(inside, middle, accepted), torch.where(inside, rejected, middle)
            ends.append(accepted)
        # Discrete contributions have ties at 0 only, so the bisection may contradict the p-value of 0 itself.
        low, high = ends
        rejected = self.p_values() < ALPHA
        low = torch.where(
            rejected & (self.difference > 0), low.clamp(min=0), torch.where(rejected, low, low.clamp(max=0))
        )
        high = torch.where(
            rejected & (self.difference < 0), high.clamp(max=0), torch.where(rejected, high, high.clamp(min=0))
        )
        return low, high

    def _mid_p(self, tested: Float[Tensor, " M"]) -> Float[Tensor, " M"]:
        observed = (self.difference - tested).abs()
        tolerance = _tolerance(observed)
        excess = (self.permuted - self.mean_signs * tested).abs() - observed
        larger = (excess > tolerance).double().sum(dim=0)
        equal = 1 + (excess.abs() <= tolerance).double().sum(dim=0)
        return torch.where(observed <= tolerance, 1.0, (larger + equal / 2) / (1 + len(self.permuted)))


def sign_flip_test(contributions: Float[Tensor, "I M"], resamples: int, generator: torch.Generator) -> SignFlipTest:
    """Draw the permutation distribution of M differences by flipping the sign of random images.

    Args:
        contributions: (I, M) contribution of each image to each difference; their sum is the difference.
        resamples: Number of permutations N.
        generator: Random generator.

    Example:
        Ten images, all in favour of b: only 2 of 1,024 sign patterns are as one-sided; the mid-p counts one of them.

        >>> contributions = torch.ones(10, 1, dtype=torch.float64)
        >>> test = sign_flip_test(contributions, 100_000, torch.Generator().manual_seed(0))
        >>> abs(float(test.p_values()) - 1 / 1024) < 0.0003
        True
    """
    permuted, mean_signs = [], []
    chunk = max(1, CHUNK_ELEMENTS // len(contributions))
    for start in range(0, resamples, chunk):
        size = (min(chunk, resamples - start), len(contributions))
        signs = torch.randint(2, size, generator=generator).double() * 2 - 1
        permuted.append(signs @ contributions)
        mean_signs.append(signs.mean(dim=1, keepdim=True))
    return SignFlipTest(contributions.sum(dim=0), torch.cat(permuted), torch.cat(mean_signs))


def standard_error(
    full_a: Float[Tensor, "S M"],
    full_b: Float[Tensor, "T M"],
    drawn_a: Float[Tensor, "N S M"],
    drawn_b: Float[Tensor, "N T M"],
    images: int,
) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
    """Estimate the standard error of the difference of two means over seeds, due to seeds and images.

    Args:
        full_a: (S, M) metrics of the seeds of side a, S + T > 2.
        full_b: (T, M) metrics of the seeds of side b.
        drawn_a: (N, S, M) metrics of side a on N bootstrap samples of the images.
        drawn_b: (N, T, M) metrics of side b on the same samples.
        images: Number of images.

    Returns:
        Standard error (M,), and Satterthwaite's degrees of freedom (M,): at least the smaller of S + T - 2 and
        ``images`` - 1, at most their sum.
    """
    freedom = len(full_a) + len(full_b) - 2
    per_seed = 1 / len(full_a) + 1 / len(full_b)
    seeds = (_squares(full_a, 0) + _squares(full_b, 0)) / freedom * per_seed
    both = (drawn_b.mean(dim=1) - drawn_a.mean(dim=1)).var(dim=0)
    own_answers = sum(_squares(d - d.mean(dim=1, keepdim=True), 0).sum(dim=0) / len(d) for d in (drawn_a, drawn_b))
    queries = (both - own_answers / freedom * per_seed).clamp(min=0)
    smallest = torch.finfo(seeds.dtype).tiny ** 0.25  # its square is a denominator
    seeds = seeds.clamp(min=smallest)
    satterthwaite = (seeds + queries) ** 2 / (seeds**2 / freedom + queries**2 / (images - 1))
    return (seeds + queries).sqrt(), satterthwaite


def t_test(
    difference: Float[Tensor, " M"], error: Float[Tensor, " M"], freedom: Float[Tensor, " M"]
) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"], Float[Tensor, " M"]]:
    """Compute the two-sided p-values of Student's t, and both ends of the 95 % intervals.

    >>> p, low, high = t_test(*torch.tensor([[2.776], [1.0], [4.0]], dtype=torch.float64))
    >>> round(float(p), 4), round(float(low), 4), round(float(high), 3)
    (0.05, -0.0004, 5.552)
    """
    p_values = torch.from_numpy(2 * stdtr(freedom.numpy(), -(difference / error).abs().numpy()))
    width = torch.from_numpy(stdtrit(freedom.numpy(), 1 - ALPHA / 2)) * error
    return p_values, difference - width, difference + width


def _squares(values: Tensor, dim: int) -> Tensor:
    """Compute the sum of squared deviations from the mean."""
    return (values - values.mean(dim=dim, keepdim=True)).square().sum(dim=dim)


def _sums(seeds: Sequence[Ranks], owners: Int[Tensor, " C"]) -> _Sums:
    sums, captions = [], torch.bincount(owners, minlength=len(seeds[0].i2t)).double()
    for ranks in seeds:
        i2t, t2i = _query_metrics(ranks.i2t.cpu()), _query_metrics(ranks.t2i.cpu())
        sums.append(torch.cat([i2t, torch.zeros_like(i2t).index_add_(0, owners, t2i)], dim=1))
    sizes = torch.stack([torch.ones_like(captions), captions], dim=1)
    return _Sums(torch.stack(sums), sizes.repeat_interleave(len(DIRECTION_METRICS), dim=1))


def _query_metrics(ranks: Int[Tensor, " N"]) -> Float[Tensor, "N M"]:
    """Compute the contribution of each query to each metric of its direction."""
    hits = [100.0 * (ranks <= k).double() for k in CUTOFFS]
    return torch.stack([*hits, ranks.double()], dim=1)


def _metrics(sums: Float[Tensor, "*N M"], sizes: Float[Tensor, "*N M"]) -> Tensor:
    """Divide, and append the metrics of both directions; the last axis becomes `METRICS`."""
    values = dict(zip(QUERY_METRICS, (sums / sizes).unbind(dim=-1), strict=True))
    return torch.stack(list((values | totals(values)).values()), dim=-1)


def _bootstrap(a: _Sums, b: _Sums, resamples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Compute the metrics of all seeds on the same bootstrap samples of images, (N, S, M) and (N, T, M)."""
    images, metrics = a.sizes.shape
    sums = torch.cat([a.sums, b.sums]).transpose(0, 1).reshape(images, -1)
    parts = []
    chunk = max(1, CHUNK_ELEMENTS // images)
    for start in range(0, resamples, chunk):
        drawn = draw_images(images, min(chunk, resamples - start), generator)
        parts.append(_metrics((drawn @ sums).unflatten(1, (-1, metrics)), (drawn @ a.sizes)[:, None]))
    values = torch.cat(parts)
    return values[:, : len(a.sums)], values[:, len(a.sums) :]


def _tolerance(values: Tensor) -> Tensor:
    """Return the largest rounding difference of two sums of the same numbers in a different order."""
    return 1e-9 * (1 + values.abs())


def _check(seeds_a: int, seeds_b: int, resamples: int) -> None:
    if min(seeds_a, seeds_b) < 1 or (seeds_a == 1) != (seeds_b == 1):
        raise ConfigError(
            f"side a has {seeds_a} and side b has {seeds_b} seeds; allowed: one per side, which compares two models, "
            "or at least two per side, which compares two recipes (a single seed does not measure the seed variance)"
        )
    if resamples < 1000:
        raise ConfigError(f"resamples={resamples} must be >= 1000")
