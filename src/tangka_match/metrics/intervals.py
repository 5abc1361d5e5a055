"""How far a retrieval metric would move with another draw of test images."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.errors import ConfigError, ShapeError
from tangka_match.metric_names import CUTOFFS
from tangka_match.metrics.ranks import Ranks
from tangka_match.metrics.recall import totals

CHUNK_ELEMENTS = 2**20
"""Draws held at once (resamples x captions), 8 MB a copy."""


def bootstrap_intervals(
    ranks: Ranks,
    caption_to_image: Int[Tensor, " C"],
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    *,
    query_to_image: Int[Tensor, " I"] | None = None,
) -> dict[str, tuple[float, float]]:
    """Percentile-bootstrap intervals of everything that `summarise` reports (Efron and Tibshirani 1993, ch. 13).

    Images are drawn with replacement, each with all its captions, so that both directions move together and captions
    of one image, which succeed and fail together, do not count as independent queries.

    One method for all metrics, on purpose: Wilson's interval (1927) covers a single R@K near 0 or 100 % better, but
    takes queries for independent, and knows no ``rsum`` and no ranks. The price: where every query succeeds, or none
    does, the interval has no width. The rule of three (Hanley and Lippman-Hand 1983) helps then: after 0 of n, the
    upper end at 95 % is about 300/n percent.

    The gallery stays as it was: the intervals tell of other queries of the same kind, not of larger galleries, and not
    of other training seeds.

    Args:
        ranks: What `retrieval_ranks` returned.
        caption_to_image: The row of every caption's image, (C,), as given to `retrieval_ranks`.
        resamples: How many test sets to draw, >= 100.
        level: Share of resampled values inside the interval, in (0, 1).
        seed: Seed of the draws; the same seed gives the same intervals on any device.
        query_to_image: The image of every image query; by default each image asks once, in order.

    Returns:
        (low, high) for every key of `summarise`, in its units.

    Raises:
        ShapeError: If ``ranks`` and ``caption_to_image`` do not come from the same gallery.
        ConfigError: If ``resamples`` or ``level`` is out of range.

    Example:
        On 363 queries, an R@1 near 37 % is known to five points either way:

        >>> found = torch.where(torch.arange(363) < 136, 1, 20)  # 37.47 % at rank 1
        >>> low, high = bootstrap_intervals(Ranks(found, found), torch.arange(363))["i2t_r1"]
        >>> 32.0 < low < 33.0, 42.0 < high < 43.0
        (True, True)
    """
    askers = torch.arange(len(ranks.i2t)) if query_to_image is None else query_to_image.cpu()
    owners = caption_to_image.cpu()
    _check(ranks, askers, owners, resamples, level)
    num_images = int(askers.max()) + 1
    i2t, t2i = ranks.i2t.cpu(), ranks.t2i.cpu()
    generator = torch.Generator().manual_seed(seed)
    parts: list[dict[str, Tensor]] = []
    chunk = max(1, CHUNK_ELEMENTS // len(t2i))
    for start in range(0, resamples, chunk):
        drawn = draw_images(num_images, min(chunk, resamples - start), generator)
        values = _resampled("i2t", i2t, drawn[:, askers]) | _resampled("t2i", t2i, drawn[:, owners])
        parts.append(values | totals(values))
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    ends = {name: torch.cat([part[name] for part in parts]).quantile(tails).tolist() for name in parts[0]}
    return {name: (low, high) for name, (low, high) in ends.items()}


def draw_images(n_images: int, resamples: int, generator: torch.Generator) -> Float[Tensor, "S I"]:
    """Draw S test sets of I images with replacement: how often each image is in each."""
    chosen = torch.randint(n_images, (resamples, n_images), generator=generator)
    ones = torch.ones((), dtype=torch.float64).expand(chosen.shape)
    return torch.zeros(chosen.shape, dtype=torch.float64).scatter_add_(1, chosen, ones)


def _resampled(direction: str, ranks: Int[Tensor, " N"], drawn: Float[Tensor, "S N"]) -> dict[str, Float[Tensor, " S"]]:
    """Compute the metrics of one direction in every resample; ``drawn`` says how often each query is in it."""
    queries = drawn.sum(dim=1)
    values = {f"{direction}_r{k}": 100.0 * (drawn @ (ranks <= k).double()) / queries for k in CUTOFFS}
    values[f"{direction}_median_rank"] = _median_ranks(ranks, drawn)
    values[f"{direction}_mean_rank"] = drawn @ ranks.double() / queries
    return values


def _median_ranks(ranks: Int[Tensor, " N"], drawn: Float[Tensor, "S N"]) -> Float[Tensor, " S"]:
    """Median of every resample: with queries in the order of their ranks, the ones at the middle positions."""
    ordered, order = ranks.sort()
    running = drawn[:, order].cumsum(dim=1)
    queries = running[:, -1:]
    middle = torch.cat([((queries - 1) / 2).floor(), (queries / 2).floor()], dim=1)
    return ordered[torch.searchsorted(running, middle, right=True)].double().mean(dim=1)


def _check(ranks: Ranks, askers: Int[Tensor, " I"], owners: Int[Tensor, " C"], resamples: int, level: float) -> None:
    """Refuse settings out of range and ground truth of another gallery."""
    if len(owners) != len(ranks.t2i) or len(askers) != len(ranks.i2t) or int(owners.max()) > int(askers.max()):
        raise ShapeError(
            f"caption_to_image has {len(owners)} captions of rows up to {int(owners.max())}, but "
            f"ranks are of {len(ranks.t2i)} captions and {len(ranks.i2t)} images; give the one that made these ranks"
        )
    if resamples < 100:
        raise ConfigError(f"resamples={resamples} is too few for the ends of an interval; draw at least 100")
    if not 0 < level < 1:
        raise ConfigError(f"level={level} is not a share in (0, 1); 0.95 gives 95 % intervals")
