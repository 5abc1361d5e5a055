"""Bootstrap confidence intervals of the retrieval metrics."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.errors import ConfigError, ShapeError
from tangka_match.metric_names import CUTOFFS
from tangka_match.metrics.ranks import Ranks
from tangka_match.metrics.recall import totals

CHUNK_ELEMENTS = 2**20
"""Size of the matrix of draws held at once (resamples x captions); 8 MB per copy."""


def bootstrap_intervals(
    ranks: Ranks,
    caption_to_image: Int[Tensor, " C"],
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    *,
    query_to_image: Int[Tensor, " I"] | None = None,
) -> dict[str, tuple[float, float]]:
    """Compute percentile-bootstrap intervals of every metric of `summarise` (Efron and Tibshirani 1993, ch. 13).

    Images are resampled with replacement, each with all its captions: both directions vary together, and captions of
    one image, whose results are correlated, are not treated as independent queries.

    All metrics share one method. Wilson's interval (1927) has better coverage for a single R@K near 0 or 100 %, but
    assumes independent queries and does not apply to ``rsum`` and ranks. Where every query succeeds, or none does, the
    bootstrap interval has zero width; the rule of three (Hanley and Lippman-Hand 1983) then gives an upper end of about
    300/n percent for 0 of n.

    The gallery stays fixed: the intervals cover other queries of the same kind, not larger galleries or other training
    seeds.

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
        >>> low, high = bootstrap_intervals(Ranks(found, found), torch.arange(363))["i2t_r1"]
        >>> 32.0 < low < 33.0, 42.0 < high < 43.0
        (True, True)
    """
    query_owners = torch.arange(len(ranks.i2t)) if query_to_image is None else query_to_image.cpu()
    owners = caption_to_image.cpu()
    _check(ranks, query_owners, owners, resamples, level)
    num_images = int(query_owners.max()) + 1
    i2t, t2i = ranks.i2t.cpu(), ranks.t2i.cpu()
    generator = torch.Generator().manual_seed(seed)
    parts: list[dict[str, Tensor]] = []
    chunk = max(1, CHUNK_ELEMENTS // len(t2i))
    for start in range(0, resamples, chunk):
        drawn = draw_images(num_images, min(chunk, resamples - start), generator)
        values = _resampled("i2t", i2t, drawn[:, query_owners]) | _resampled("t2i", t2i, drawn[:, owners])
        parts.append(values | totals(values))
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    ends = {name: torch.cat([part[name] for part in parts]).quantile(tails).tolist() for name in parts[0]}
    return {name: (low, high) for name, (low, high) in ends.items()}


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


def _resampled(direction: str, ranks: Int[Tensor, " N"], drawn: Float[Tensor, "S N"]) -> dict[str, Float[Tensor, " S"]]:
    """Compute the metrics of one direction in every resample; ``drawn`` counts each query in each resample."""
    queries = drawn.sum(dim=1)
    values = {f"{direction}_r{k}": 100.0 * (drawn @ (ranks <= k).double()) / queries for k in CUTOFFS}
    values[f"{direction}_median_rank"] = _median_ranks(ranks, drawn)
    values[f"{direction}_mean_rank"] = drawn @ ranks.double() / queries
    return values


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
