"""Is one model better than another, or is the difference what other queries, or other seeds, would undo?

Images are what varies: each is drawn, or changes sides, with all its captions, because captions of one image succeed
and fail together. So both directions move together too, and their mean is tested as one number.

**One model a side**: a paired permutation test for these two models on other queries of the same kind, and the interval
that goes with it.

- *p* (Fisher 1935; Dror et al. 2018, "The hitchhiker's guide to testing statistical significance in NLP"): were the
  models equal, their answers about an image could change sides. It is the mid-p (Lancaster 1961; Fagerland et al. 2013
  for paired counts): differences of recall come in steps, and the plain p, which counts all of the observed step, cries
  wolf in about 4 % of comparisons instead of 5 %.
- *Interval*: every difference that the same test would not refuse (inversion of a permutation test, Good 2005, ch. 3;
  Garthwaite 1996), so that the interval holds 0 where p >= 0.05, and leaves it out, or ends there, where p < 0.05.

On 5,000 simulated pairs of equal models with ragged captions p is below 0.05 in 4.3 % (rsum) to 5.2 %, of mean R@1 in
5.1 %. On 2,000 pairs of models that differ by 6 points of R@1 and 3 ranks the interval leaves out the true difference
in 4.3 to 5.8 %, of mean ranks in 4.5 and 4.7 %; a percentile bootstrap leaves it out in 5.7 and 6.8 % there, because
resampling underrates long tails.

**Several seeds a side**: the same for training again, with other seeds, on other queries. Seeds and images are
crossed, since every seed answers about every image. Drawing both again with replacement is not calibrated: the chance
of a single answer would count twice and more (Owen 2007, "The pigeonhole bootstrap"), while three seeds drawn again
show two thirds of their variance; on simulated equal recipes such a test cries wolf in 0.3 % to 10 %. Hence each level
is given the variance that it has:

- *seeds*: the variance between seeds, pooled over both sides, with S + T - 2 degrees of freedom. The chance of single
  answers is in it.
- *images*: that of a paired bootstrap, without what a seed's answers vary about the mean of its side.

Their sum, and Student's t with Satterthwaite's (1946) degrees of freedom, give p and interval. On 10,000 simulated
pairs of equal recipes of each of eight kinds, from seeds that do not differ to seeds whose variance is ninety times
that of the images, p is below 0.05 in 4.8 to 5.8 % with three seeds a side, 4.6 to 5.8 % with four, 4.4 to 5.5 % with
five. Two seeds a side are too few to know their variance: 5.2 to 7.4 %.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from scipy.stats import t
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.metric_names import CUTOFFS, DIRECTIONS, PRIMARY_METRIC
from tangka_match.metrics import Ranks
from tangka_match.metrics.intervals import draw_images
from tangka_match.metrics.recall import totals

LEVEL, ALPHA = 0.95, 0.05
"""Of the intervals; and p below which a difference is called one."""

FARTHEST, HALVINGS = 20.0, 24
"""Standard errors within which the ends of an interval are looked for, and how often that range is halved."""

CHUNK_ELEMENTS = 2**21
"""Draws held at once (resamples x images), 16 MB a copy."""

OF_ONE_DIRECTION = (*(f"r{k}" for k in CUTOFFS), "mean_rank")
OF_QUERIES = tuple(f"{direction}_{name}" for direction in DIRECTIONS for name in OF_ONE_DIRECTION)
METRICS = (*OF_QUERIES, PRIMARY_METRIC, "rsum")
"""What is compared, by the names of `summarise`. The median rank is not: it is a whole number on almost any set, so
that neither its interval nor its p means what it says."""


class Difference(NamedTuple):
    """One metric of two sides, in percent or ranks; with several seeds a side, the mean over them.

    Attributes:
        a: Of side a.
        b: Of side b.
        difference: b - a.
        low: Lower end of the difference's 95 % interval.
        high: Its upper end.
        p: How often two equal models differ as much, in [0, 1].
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float


class _Sums(NamedTuple):
    """Metrics before division: sums over the queries of each image, and how many queries these are."""

    sums: Float[Tensor, "S I M"]
    sizes: Float[Tensor, "I M"]


def compare_ranks(
    a: Sequence[Ranks],
    b: Sequence[Ranks],
    caption_to_image: Int[Tensor, " C"],
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Compare two models, or two recipes of several seeds each, on the same queries.

    The module's docstring says how, and where the methods come from.

    Args:
        a: Ranks of the seeds of side a.
        b: Ranks of the seeds of side b; one a side, or at least two a side. Seeds of the sides are not paired.
        caption_to_image: The row of every caption's image, (C,); the same for all.
        resamples: How often to change sides or, with several seeds a side, how many test sets to draw, >= 1,000.
        seed: Of the draws.

    Returns:
        A `Difference` for each of `METRICS`.

    Raises:
        ConfigError: If ``resamples`` is too small, or one side has one seed and the other several.

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
        # Changing sides leaves the number of queries as it is, so what an image adds to a metric is a fixed number.
        shares = _metrics(parts_b.sums[0] - parts_a.sums[0], parts_a.sizes.sum(dim=0))
        flips = flip_signs(shares, resamples, generator)
        p_values, (low, high) = flips.p_values(), flips.interval(FARTHEST * _squares(shares, 0).sqrt())
    else:
        drawn = _bootstrap(parts_a, parts_b, resamples, generator)
        error, freedom = recipe_error(full_a, full_b, *drawn, images=len(parts_a.sizes))
        p_values, low, high = student_test(difference, error, freedom)
    columns = (full_a.mean(dim=0), full_b.mean(dim=0), difference, low, high, p_values)
    rows = torch.stack(columns, dim=1).tolist()
    return {name: Difference(*row) for name, row in zip(METRICS, rows, strict=True)}


class SignFlips(NamedTuple):
    """What throwing the coins of a paired permutation test gave: for each image, whether its sides are exchanged.

    Attributes:
        difference: (M,) as observed.
        throws: (N, M) differences with exchanged sides.
        means: (N, 1) mean sign of each throw.
    """

    difference: Float[Tensor, " M"]
    throws: Float[Tensor, "N M"]
    means: Float[Tensor, "N 1"]

    def p_values(self) -> Float[Tensor, " M"]:
        """Two-sided mid-p, in (0, 1]; 1 where the difference is 0.

        The observed signs count as one more throw, so that p is never 0 (Phipson and Smyth 2010).
        """
        return self._mid_p(torch.zeros_like(self.difference))

    def interval(self, reach: Float[Tensor, " M"]) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
        """Both ends of the differences that the same throws do not refuse.

        To test a difference other than 0, an equal part of it is first taken from each image.

        Args:
            reach: How far from the difference to look; under five images coins refuse nothing, and the ends lie there.
        """
        ends = []
        for side in (-1, 1):
            kept, refused = self.difference, self.difference + side * reach
            for _ in range(HALVINGS):
                middle = (kept + refused) / 2
                inside = self._mid_p(middle) >= ALPHA
                kept, refused = torch.where(inside, middle, kept), torch.where(inside, refused, middle)
            ends.append(kept)
        # Shares in steps have ties at 0 and none beside it, so that the search may miss what p says of 0 itself.
        low, high = ends
        refused = self.p_values() < ALPHA
        low = torch.where(
            refused & (self.difference > 0), low.clamp(min=0), torch.where(refused, low, low.clamp(max=0))
        )
        high = torch.where(
            refused & (self.difference < 0), high.clamp(max=0), torch.where(refused, high, high.clamp(min=0))
        )
        return low, high

    def _mid_p(self, tested: Float[Tensor, " M"]) -> Float[Tensor, " M"]:
        observed = (self.difference - tested).abs()
        tolerance = _tolerance(observed)
        beyond = (self.throws - self.means * tested).abs() - observed
        further = (beyond > tolerance).double().sum(dim=0)
        as_far = 1 + (beyond.abs() <= tolerance).double().sum(dim=0)
        return torch.where(observed <= tolerance, 1.0, (further + as_far / 2) / (1 + len(self.throws)))


def flip_signs(shares: Float[Tensor, "I M"], resamples: int, generator: torch.Generator) -> SignFlips:
    """Leave the sign of each row, an image, to a coin.

    Args:
        shares: What each of I images adds to each of M differences; their sum is the difference.
        resamples: How often all the coins are thrown.
        generator: Of the coins.

    Example:
        Ten images, all in favour of b: only 2 of 1,024 ways to throw ten coins are as one-sided, of which the mid-p
        counts one.

        >>> flips = flip_signs(torch.ones(10, 1, dtype=torch.float64), 100_000, torch.Generator().manual_seed(0))
        >>> abs(float(flips.p_values()) - 1 / 1024) < 0.0003
        True
    """
    throws, means = [], []
    chunk = max(1, CHUNK_ELEMENTS // len(shares))
    for start in range(0, resamples, chunk):
        size = (min(chunk, resamples - start), len(shares))
        signs = torch.randint(2, size, generator=generator).double() * 2 - 1
        throws.append(signs @ shares)
        means.append(signs.mean(dim=1, keepdim=True))
    return SignFlips(shares.sum(dim=0), torch.cat(throws), torch.cat(means))


def recipe_error(
    full_a: Float[Tensor, "S M"],
    full_b: Float[Tensor, "T M"],
    drawn_a: Float[Tensor, "N S M"],
    drawn_b: Float[Tensor, "N T M"],
    images: int,
) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
    """Standard error of the difference of two means over seeds, by the draw of seeds and of images.

    Args:
        full_a: M metrics of the S seeds of side a, S + T > 2.
        full_b: The same of the T seeds of side b.
        drawn_a: Metrics of the same seeds on N drawn sets of images.
        drawn_b: The same of side b, on the same sets.
        images: How many images there are.

    Returns:
        The error, and Satterthwaite's degrees of freedom of its square: at least the smaller of S + T - 2 and
        ``images`` - 1, at most their sum.
    """
    freedom = len(full_a) + len(full_b) - 2
    per_seed = 1 / len(full_a) + 1 / len(full_b)
    seeds = (_squares(full_a, 0) + _squares(full_b, 0)) / freedom * per_seed
    both = (drawn_b.mean(dim=1) - drawn_a.mean(dim=1)).var(dim=0)
    own_answers = sum(_squares(d - d.mean(dim=1, keepdim=True), 0).sum(dim=0) / len(d) for d in (drawn_a, drawn_b))
    queries = (both - own_answers / freedom * per_seed).clamp(min=0)
    smallest = torch.finfo(seeds.dtype).tiny ** 0.25  # its square is a divisor
    seeds = seeds.clamp(min=smallest)
    satterthwaite = (seeds + queries) ** 2 / (seeds**2 / freedom + queries**2 / (images - 1))
    return (seeds + queries).sqrt(), satterthwaite


def student_test(
    difference: Float[Tensor, " M"], error: Float[Tensor, " M"], freedom: Float[Tensor, " M"]
) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"], Float[Tensor, " M"]]:
    """Two-sided p of Student's t, and both ends of the 95 % intervals.

    >>> p, low, high = student_test(*torch.tensor([[2.776], [1.0], [4.0]], dtype=torch.float64))
    >>> round(float(p), 4), round(float(low), 4), round(float(high), 3)
    (0.05, -0.0004, 5.552)
    """
    p_values = torch.from_numpy(2 * t.sf((difference / error).abs().numpy(), freedom.numpy()))
    width = torch.from_numpy(t.ppf(1 - ALPHA / 2, freedom.numpy())) * error
    return p_values, difference - width, difference + width


def _squares(values: Tensor, dim: int) -> Tensor:
    """Sum of squares about the mean."""
    return (values - values.mean(dim=dim, keepdim=True)).square().sum(dim=dim)


def _sums(seeds: Sequence[Ranks], owners: Int[Tensor, " C"]) -> _Sums:
    sums, captions = [], torch.bincount(owners, minlength=len(seeds[0].i2t)).double()
    for ranks in seeds:
        i2t, t2i = _of_queries(ranks.i2t.cpu()), _of_queries(ranks.t2i.cpu())
        sums.append(torch.cat([i2t, torch.zeros_like(i2t).index_add_(0, owners, t2i)], dim=1))
    sizes = torch.stack([torch.ones_like(captions), captions], dim=1)
    return _Sums(torch.stack(sums), sizes.repeat_interleave(len(OF_ONE_DIRECTION), dim=1))


def _of_queries(ranks: Int[Tensor, " N"]) -> Float[Tensor, "N M"]:
    """What each query adds to each metric of its direction."""
    hits = [100.0 * (ranks <= k).double() for k in CUTOFFS]
    return torch.stack([*hits, ranks.double()], dim=1)


def _metrics(sums: Float[Tensor, "*N M"], sizes: Float[Tensor, "*N M"]) -> Tensor:
    """Divide, and add what is made of both directions: the last axis is then `METRICS`."""
    values = dict(zip(OF_QUERIES, (sums / sizes).unbind(dim=-1), strict=True))
    return torch.stack(list((values | totals(values)).values()), dim=-1)


def _bootstrap(a: _Sums, b: _Sums, resamples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Metrics of all seeds on the same drawn images, (N, S, M) and (N, T, M)."""
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
    """Below this, two sums of the same numbers in another order differ by rounding only."""
    return 1e-9 * (1 + values.abs())


def _check(seeds_a: int, seeds_b: int, resamples: int) -> None:
    if min(seeds_a, seeds_b) < 1 or (seeds_a == 1) != (seeds_b == 1):
        raise ConfigError(
            f"a has {seeds_a} and b has {seeds_b} of the seeds of a recipe; allowed: one each, which compares two "
            "models, or at least two each, which compares two recipes: a single seed does not say how much seeds vary"
        )
    if resamples < 1000:
        raise ConfigError(f"resamples={resamples} is too few for the ends of an interval; draw at least 1000")
