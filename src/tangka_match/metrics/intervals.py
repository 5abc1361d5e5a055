"""Confidence intervals of the retrieval metrics, over images."""

import math
from statistics import NormalDist

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.errors import ConfigError, ShapeError
from tangka_match.metric_names import CUTOFFS, PRIMARY_METRIC, RECALLS
from tangka_match.metrics.ranks import Ranks
from tangka_match.metrics.recall import mean_rank, summarise

CHUNK_ELEMENTS = 2**20
"""Size of the matrix of draws held at once (resamples x captions); 8 MB per copy."""


def confidence_intervals(
    ranks: Ranks,
    caption_to_image: Int[Tensor, " C"],
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    *,
    query_to_image: Int[Tensor, " I"] | None = None,
) -> dict[str, tuple[float, float]]:
    r"""Compute confidence intervals of every metric of `summarise`.

    Images are the sampling units, each with all its captions: captions of one image, whose results are correlated, are
    not treated as independent queries, and both directions vary together.

    - Recalls, ``mean_r1`` and ``rsum``: Wilson's score interval (1927) with the effective sample size
      :math:`p (1 - p) / v`, where :math:`v` is the variance of the metric :math:`p`, scaled to [0, 1], over images
      (Dean and Pagano, "Evaluating Confidence Interval Methods for Binomial Proportions in Clustered Surveys", 2015).
      It has a width above 0 where every query succeeds, or none does.
    - Mean ranks: bootstrap-t (Efron and Tibshirani 1993, ch. 12) of the logarithm, because ranks are skewed.
    - Median ranks: percentile bootstrap.

    The gallery stays fixed: the intervals cover other queries of the same kind, not other or larger galleries, nor
    other training seeds.

    Args:
        ranks: Ranks from `retrieval_ranks`.
        caption_to_image: Row of each caption's image, (C,), as passed to `retrieval_ranks`.
        resamples: Number of bootstrap resamples, >= 100.
        level: Coverage of the intervals, in (0, 1).
        seed: Seed of the resampling; the same seed gives the same intervals on every device.
        query_to_image: Row of each image query's image, (I,); one query per image in order if not given.

    Returns:
        (low, high) for every key of `summarise`, in its units.

    Raises:
        ShapeError: If ``ranks`` and ``caption_to_image`` do not belong to the same gallery.
        ConfigError: If ``resamples`` or ``level`` is out of range.

    Example:
        With 363 queries, the interval of an R@1 near 37 % is about five points to either side:

        >>> found = torch.where(torch.arange(363) < 136, 1, 20)  # 37.47 % at rank 1
        >>> low, high = confidence_intervals(Ranks(found, found), torch.arange(363))["i2t_r1"]
        >>> 32.0 < low < 33.0, 42.0 < high < 43.0
        (True, True)
    """
    query_owners = torch.arange(len(ranks.i2t)) if query_to_image is None else query_to_image.cpu()
    owners = caption_to_image.cpu()
    _check(ranks, query_owners, owners, resamples, level)
    # Images that no random gallery contains have no queries, and are not resampled.
    images, numbered = torch.cat([query_owners, owners]).unique(return_inverse=True)
    query_owners, owners = numbered.split([len(query_owners), len(owners)])
    num_images = len(images)
    sides = {
        "i2t": _Side(ranks.i2t.cpu(), query_owners, num_images),
        "t2i": _Side(ranks.t2i.cpu(), owners, num_images),
    }
    z = NormalDist().inv_cdf((1 + level) / 2)
    return _score_intervals(ranks, sides, z) | _rank_intervals(sides, num_images, resamples, level, seed)


class _Side:
    """Ranks of one direction, and what they sum to per image."""

    def __init__(self, ranks: Int[Tensor, " N"], owners: Int[Tensor, " N"], num_images: int) -> None:
        self.ranks = ranks
        self.owners = owners
        self.num_images = num_images
        self.counts = self.per_image(torch.ones_like(ranks))

    def per_image(self, values: Tensor) -> Float[Tensor, " I"]:
        """Sum the values of the queries of each image."""
        return torch.zeros(self.num_images, dtype=torch.float64).index_add_(0, self.owners, values.double())

    def influences(self, k: int) -> Float[Tensor, " I"]:
        """Compute by how much each image moves R@K, as a share: the linearised ratio of hits to queries."""
        hits = self.per_image(self.ranks <= k)
        return (hits - hits.sum() / self.counts.sum() * self.counts) / self.counts.sum()


def _score_intervals(ranks: Ranks, sides: dict[str, _Side], z: float) -> dict[str, tuple[float, float]]:
    """Compute Wilson's interval of every recall, of ``mean_r1`` and of ``rsum``."""
    values = summarise(ranks)
    influences = {f"{name}_r{k}": side.influences(k) for name, side in sides.items() for k in CUTOFFS}
    outcomes = {f"{name}_r{k}": len(side.ranks) for name, side in sides.items() for k in CUTOFFS}
    for total, parts in ((PRIMARY_METRIC, ("i2t_r1", "t2i_r1")), ("rsum", RECALLS)):
        influences[total] = torch.stack([influences[name] for name in parts]).mean(dim=0)
        outcomes[total] = sum(outcomes[name] for name in parts)
    images = sides["i2t"].num_images
    found = {}
    for name, influence in influences.items():
        scale = 600.0 if name == "rsum" else 100.0
        share = values[name] / scale
        variance = influence.square().sum().item() * images / max(images - 1, 1)
        size = min(share * (1 - share) / variance, outcomes[name]) if variance > 0 else images
        low, high = _wilson(share, size, z)
        found[name] = (scale * low, scale * high)
    return found


def _wilson(share: float, size: float | int, z: float) -> tuple[float, float]:
    """Compute Wilson's score interval of a share out of ``size`` independent trials.

    >>> [round(end, 4) for end in _wilson(0.0, 100, 1.96)]  # z^2 / (n + z^2)
    [0.0, 0.037]
    """
    shrunk = 1 + z**2 / size
    centre = (share + z**2 / (2 * size)) / shrunk
    half = z / shrunk * math.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _rank_intervals(
    sides: dict[str, _Side], num_images: int, resamples: int, level: float, seed: int
) -> dict[str, tuple[float, float]]:
    """Compute the bootstrap intervals of median and mean ranks; one set of resampled images for all."""
    generator = torch.Generator().manual_seed(seed)
    chunk = max(1, CHUNK_ELEMENTS // max(len(side.ranks) for side in sides.values()))
    medians: dict[str, list[Tensor]] = {name: [] for name in sides}
    studentised: dict[str, list[Tensor]] = {name: [] for name in sides}
    for start in range(0, resamples, chunk):
        drawn = draw_images(num_images, min(chunk, resamples - start), generator)
        for name, side in sides.items():
            medians[name].append(_median_ranks(side.ranks, drawn[:, side.owners]))
            studentised[name].append(_studentised_log_means(side, drawn))
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    found = {}
    for name, side in sides.items():
        low, high = torch.cat(medians[name]).quantile(tails).tolist()
        found[f"{name}_median_rank"] = (low, high)
        _, error = _log_mean_and_error(side, torch.ones(1, num_images, dtype=torch.float64))
        lower, upper = torch.cat(studentised[name]).quantile(tails).tolist()
        mean = mean_rank(side.ranks)
        ends = (mean * math.exp(min(-t * error.item(), 700.0)) for t in (upper, lower))
        low, high = (min(max(end, 1.0), float(side.ranks.max())) for end in ends)
        found[f"{name}_mean_rank"] = (low, high)
    return found


def draw_images(n_images: int, resamples: int, generator: torch.Generator) -> Float[Tensor, "S I"]:
    """Draw bootstrap resamples of the images.

    Args:
        n_images: Number of images, I.
        resamples: Number of resamples, S; each draws I images with replacement.
        generator: Random generator on the CPU.

    Returns:
        Number of times that each image occurs in each resample, (S, I) float64.
    """
    chosen = torch.randint(n_images, (resamples, n_images), generator=generator)
    ones = torch.ones((), dtype=torch.float64).expand(chosen.shape)
    return torch.zeros(chosen.shape, dtype=torch.float64).scatter_add_(1, chosen, ones)


def _studentised_log_means(side: _Side, drawn: Float[Tensor, "S I"]) -> Float[Tensor, " S"]:
    """Compute (log of the resampled mean rank - log of the mean rank) / standard error within the resample."""
    centre, _ = _log_mean_and_error(side, torch.ones(1, side.num_images, dtype=torch.float64))
    means, errors = _log_mean_and_error(side, drawn)
    return torch.where(errors > 0, (means - centre) / errors.clamp(min=1e-12), 0.0)


def _log_mean_and_error(side: _Side, drawn: Float[Tensor, "S I"]) -> tuple[Float[Tensor, " S"], Float[Tensor, " S"]]:
    """Compute the logarithm of the mean rank and its standard error over images, in every resample."""
    sums, counts = side.per_image(side.ranks), side.counts
    images, queries = drawn.sum(dim=1), drawn @ counts
    mean = drawn @ sums / queries
    squares = drawn @ sums.square() - 2 * mean * (drawn @ (sums * counts)) + mean.square() * (drawn @ counts.square())
    variance = squares.clamp(min=0) * images / (images - 1).clamp(min=1) / queries.square()
    return mean.log(), variance.sqrt() / mean


def _median_ranks(ranks: Int[Tensor, " N"], drawn: Float[Tensor, "S N"]) -> Float[Tensor, " S"]:
    """Compute the median rank of every resample from the cumulative counts of the sorted ranks."""
    ordered, order = ranks.sort()
    running = drawn[:, order].cumsum(dim=1)
    queries = running[:, -1:]
    middle = torch.cat([((queries - 1) / 2).floor(), (queries / 2).floor()], dim=1)
    return ordered[torch.searchsorted(running, middle, right=True)].double().mean(dim=1)


def _check(
    ranks: Ranks, query_owners: Int[Tensor, " I"], owners: Int[Tensor, " C"], resamples: int, level: float
) -> None:
    """Refuse settings out of range and ground truth of another gallery."""
    if (
        len(owners) != len(ranks.t2i)
        or len(query_owners) != len(ranks.i2t)
        or int(owners.max()) > int(query_owners.max())
    ):
        raise ShapeError(
            f"caption_to_image has {len(owners)} captions with rows up to {int(owners.max())}, but ranks has "
            f"{len(ranks.t2i)} captions and {len(ranks.i2t)} images; pass the caption_to_image of these ranks"
        )
    if resamples < 100:
        raise ConfigError(f"resamples={resamples} must be >= 100: fewer do not determine the ends of an interval")
    if not 0 < level < 1:
        raise ConfigError(f"level={level} must be in (0, 1); 0.95 gives 95 % intervals")
