"""Is one model better than another, or is the difference what other queries, or other seeds, would undo?

Images are what varies: each is drawn, or changes sides, with all its captions, because captions of one image succeed
and fail together. So both directions move together too, and their mean is tested as one number.

**One model a side**: an interval and a test for these two models on other queries of the same kind.

- *Interval*: paired percentile bootstrap (Efron and Tibshirani 1993, ch. 13; Koehn 2004, "Statistical significance
  tests for machine translation evaluation"): both models on the same drawn images.
- *p*: paired permutation test (Fisher 1935; Dror et al. 2018, "The hitchhiker's guide to testing statistical
  significance in NLP"): were the models equal, their answers about an image could change sides. It is the mid-p
  (Lancaster 1961; Fagerland et al. 2013 for paired counts): differences of recall come in steps, and the plain p, which
  counts all of the observed step, cries wolf in about 4 % of comparisons instead of 5 %.

On 5,000 simulated pairs of equal models with ragged captions p is below 0.05 in 4.3 % (rsum) to 5.2 %, of mean R@1 in
5.1 %. The interval leaves out 0 as often, except that of mean ranks (6.4 to 7.8 %), whose long tail resampling
underrates; p, exact whatever the tail, decides.

**Several seeds a side**: the same for training again, with other seeds, on other queries. The bootstrap is hierarchical
(Davison and Hinkley 1997, §3.8): seeds above, images below. Drawing both again with replacement is not calibrated here.
Seeds and images are crossed, since every seed answers about every image: the chance of a single answer would count
twice and more (Owen 2007, "The pigeonhole bootstrap"), while three seeds drawn again show two thirds of their variance.
On simulated equal recipes such a test cries wolf in 0.3 % to 10 %, by which of the two errors is larger. Hence, as
Davison and Hinkley advise, each level is given the variance that it has:

- *seeds*: normal, with the variance between seeds, pooled over both sides, itself as uncertain as S + T - 2 degrees of
  freedom make it. The chance of single answers is in it.
- *images*: bootstrapped, then shrunk by what a seed's answers vary about the mean of its side.

This cries wolf in 2.5 % to 6 %, whatever varies most.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.metrics import Ranks
from tangka_match.metrics.intervals import draw_images
from tangka_match.metrics.summary import CUTOFFS, totals

LEVEL, ALPHA = 0.95, 0.05
"""Of the intervals; and p below which a difference is called one."""

CHUNK_ELEMENTS = 2**21
"""Draws held at once (resamples x images), 16 MB a copy."""

OF_ONE_DIRECTION = (*(f"r{k}" for k in CUTOFFS), "mean_rank")
OF_QUERIES = tuple(f"{direction}_{name}" for direction in ("i2t", "t2i") for name in OF_ONE_DIRECTION)
METRICS = (*OF_QUERIES, "mean_r1", "rsum")
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
        p: How often two equal models differ as much, in (0, 1].
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
        resamples: How many test sets to draw, and how often to change sides, >= 1,000.
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
    drawn_a, drawn_b = _bootstrap(parts_a, parts_b, resamples, generator)
    if len(a) == 1:
        deviations = drawn_b[:, 0] - drawn_a[:, 0] - difference
        # Changing sides leaves the number of queries as it is, so what an image adds to a metric is a fixed number.
        shares = _metrics(parts_b.sums[0] - parts_a.sums[0], parts_a.sizes.sum(dim=0))
        p_values = sign_flip_p_values(shares, resamples, generator)
    else:
        deviations = hierarchical_deviations(full_a, full_b, drawn_a, drawn_b, generator)
        as_far = (deviations.abs() >= difference.abs() - _tolerance(difference)).double().sum(dim=0)
        p_values = (1 + as_far) / (1 + len(deviations))
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = difference + deviations.quantile(tails, dim=0)
    columns = (full_a.mean(dim=0), full_b.mean(dim=0), difference, low, high, p_values)
    rows = torch.stack(columns, dim=1).tolist()
    return {name: Difference(*row) for name, row in zip(METRICS, rows, strict=True)}


def sign_flip_p_values(shares: Float[Tensor, "I M"], resamples: int, generator: torch.Generator) -> Float[Tensor, " M"]:
    """Two-sided mid-p of paired permutation tests: the sign of each row, an image, is left to a coin.

    Args:
        shares: What each of I images adds to each of M differences; their sum is the difference.
        resamples: How often all the coins are thrown. The observed signs count as one more throw, so that p is never 0
            (Phipson and Smyth 2010).
        generator: Of the coins.

    Returns:
        p in (0, 1], one a column; 1 where the difference is 0.

    Example:
        Ten images, all in favour of b: only 2 of 1,024 ways to throw ten coins are as one-sided, of which the mid-p
        counts one.

        >>> p = sign_flip_p_values(torch.ones(10, 1, dtype=torch.float64), 100_000, torch.Generator().manual_seed(0))
        >>> abs(float(p) - 1 / 1024) < 0.0003
        True
    """
    observed = shares.sum(dim=0).abs()
    tolerance = _tolerance(observed)
    further, as_far = torch.zeros_like(observed), torch.ones_like(observed)
    chunk = max(1, CHUNK_ELEMENTS // len(shares))
    for start in range(0, resamples, chunk):
        size = (min(chunk, resamples - start), len(shares))
        signs = torch.randint(2, size, generator=generator).double() * 2 - 1
        flipped = (signs @ shares).abs()
        further += (flipped > observed + tolerance).sum(dim=0)
        as_far += ((flipped - observed).abs() <= tolerance).sum(dim=0)
    p_values = (further + as_far / 2) / (1 + resamples)
    return torch.where(observed <= tolerance, 1.0, p_values)


def hierarchical_deviations(
    full_a: Float[Tensor, "S M"],
    full_b: Float[Tensor, "T M"],
    drawn_a: Float[Tensor, "N S M"],
    drawn_b: Float[Tensor, "N T M"],
    generator: torch.Generator,
) -> Float[Tensor, "N2 M"]:
    """How far the difference of two means over seeds may be off, by the draw of seeds and of images.

    The hierarchical bootstrap of the module's docstring.

    Args:
        full_a: M metrics of the S seeds of side a, S + T > 2.
        full_b: The same of the T seeds of side b.
        drawn_a: Metrics of the same seeds on N drawn sets of images.
        drawn_b: The same of side b, on the same sets.
        generator: Of the seeds' part.

    Returns:
        2N deviations of each metric: each draw of the seeds' part once added and once subtracted, so that the sides can
        be exchanged.
    """
    freedom = len(full_a) + len(full_b) - 2
    per_seed = 1 / len(full_a) + 1 / len(full_b)
    between_seeds = (_squares(full_a, 0) + _squares(full_b, 0)) / freedom * per_seed
    images = drawn_b.mean(dim=1) - drawn_a.mean(dim=1)
    images = images - images.mean(dim=0)
    own_answers = sum(
        _squares(drawn - drawn.mean(dim=1, keepdim=True), 0).sum(dim=0) / len(drawn) for drawn in (drawn_a, drawn_b)
    )
    variance = images.square().mean(dim=0)
    kept = 1 - own_answers / freedom * per_seed / variance.clamp(min=torch.finfo(variance.dtype).tiny)
    images = images * kept.clamp(min=0).sqrt()
    normal = torch.randn(len(images), generator=generator, dtype=images.dtype)
    chi_square = torch.randn(len(images), freedom, generator=generator, dtype=images.dtype).square().sum(dim=1)
    seeds = (normal / (chi_square / freedom).sqrt())[:, None] * between_seeds.sqrt()
    return torch.cat([images + seeds, images - seeds])


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
