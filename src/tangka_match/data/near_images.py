"""Near-duplicate images, found by their region features."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tangka_match.data.feature_scan import FeatureScan, track_progress, unit_regions
from tangka_match.data.split import Split

SAME = 0.01
"""Mean cosine distance of best-matching regions up to which two images are exact duplicates, independent of the
other images. Float16 rounding and repeated extraction cause much smaller distances."""

MAX_DISTANCE_RATIO = 0.75
"""Otherwise, largest ratio of the distance of a near-duplicate to the mean distance of the rivals ..."""

MIN_DEVIATIONS = 10.0
"""... and fewest robust standard deviations that it is closer than the rivals."""

MIN_NEIGHBOUR_DEVIATIONS = 5.0
"""Also, fewest robust standard deviations that it is closer than the nearest other images of all queries. Rivals alone
do not suffice: where images share parts, the nearest of them are much closer than the images of rank 50, and before a
gap, without being copies. In synthetic sets of 200 images with six attributes of eight values each, the rivals alone
accepted 69 pairs of different images per set, both criteria 6."""

MIN_SPREAD = 0.05
"""Smallest standard deviation of the log distance of the nearest other images."""

MIN_GAP = 1.2
"""Smallest ratio of the distance of the next image to that of the farthest near-duplicate."""

CANDIDATES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 18, 23, 29, 38)
"""Ranks by mean features that are compared region by region: dense at first, then in steps of a quarter, so that a gap
after a large group is detected as well."""

FIRST_RIVAL, RIVALS = 50, 8
MIN_IMAGES = 16
"""A smaller gallery has no rivals to compare a distance with: only ``SAME`` applies."""

MAX_QUERIES = 3_000
"""Most images compared region by region; a larger split is sampled evenly."""

_BLOCK, _CHUNK = 1_024, 4_096
"""Query and gallery images whose mean features are compared at once: 16 MB of scores, 34 MB of means at F = 2,048."""


class NearPair(NamedTuple):
    """Pair of near-duplicate images.

    Attributes:
        query: Row of the query image.
        gallery: Row of the gallery image.
        distance: Mean cosine distance of the regions of one image to their best match in the other, the larger of the
            two directions, in [0, 2].
    """

    query: int
    gallery: int
    distance: float


class NearImages(NamedTuple):
    """Near-duplicates of the images of a split.

    Attributes:
        pairs: Pairs sorted by query; within one split each pair once, with the lower row as ``query``.
        limit: Largest distance at which an image can count as a near-duplicate.
    """

    pairs: list[NearPair]
    limit: float


def near_images(
    query: Split, query_scan: FeatureScan, gallery: Split, gallery_scan: FeatureScan, *, sample: bool = True
) -> list[NearPair]:
    """Return the pairs found by `search_near_images`."""
    return search_near_images(query, query_scan, gallery, gallery_scan, sample=sample).pairs


def search_near_images(
    query: Split, query_scan: FeatureScan, gallery: Split, gallery_scan: FeatureScan, *, sample: bool = True
) -> NearImages:
    """Find near-duplicates of the query images in a gallery.

    Two steps, in bounded memory: a shortlist by the cosine of mean features (centred on the gallery's mean), then a
    comparison region by region. The order of regions does not matter: each region is matched with the most similar
    region of the other image. The distance of near-duplicates depends on the extractor (0.01 to 0.5), so it is compared
    with that of *rivals*, the images of rank 50 to 57, in two ways (``MAX_DISTANCE_RATIO``, ``MIN_DEVIATIONS``), and
    with that of the nearest images of all queries (``MIN_NEIGHBOUR_DEVIATIONS``).

    Images without a valid region are ignored.

    Args:
        query: Split of the query images.
        query_scan: Statistics of its features.
        gallery: Split to search; the same object as ``query`` for duplicates within a split.
        gallery_scan: Statistics of its features.
        sample: Whether to compare at most ``MAX_QUERIES`` images, sampled evenly; ``False`` compares all.
    """
    within = query is gallery
    asked = np.flatnonzero(query_scan.valid.any(axis=1))
    if sample and len(asked) > MAX_QUERIES:
        asked = asked[np.linspace(0, len(asked) - 1, MAX_QUERIES).astype(np.int64)]
    order = _nearest(query_scan, asked, gallery_scan, within=within)
    others = order.shape[1]
    if others == 0:
        return NearImages([], SAME)
    first_rival = min(FIRST_RIVAL, others // 2) if others >= MIN_IMAGES else others
    columns = [rank for rank in CANDIDATES if rank < first_rival]
    near_columns = len(columns)
    columns += range(first_rival, min(first_rival + RIVALS, others))
    centre = torch.from_numpy(gallery_scan.centre)
    distances = np.stack(
        [
            _region_distances(query, int(asked[place]), gallery, order[place, columns], centre)
            for place in track_progress(range(len(asked)), f"comparing images of {query.name} with {gallery.name}")
        ]
    )
    near, limit = _judge(distances[:, :near_columns], distances[:, near_columns:])
    found = {
        (min(a, b), max(a, b)) if within else (a, b): float(distances[row, column])
        for row, column in np.argwhere(near)
        for a, b in [(int(asked[row]), int(order[row, column]))]
    }
    return NearImages([NearPair(*pair, distance) for pair, distance in sorted(found.items())], limit)


def group_pairs(pairs: list[NearPair], count: int) -> npt.NDArray[np.int64]:
    """Assign images to groups: the connected components of the pairs.

    >>> group_pairs([NearPair(0, 2, 0.1), NearPair(2, 3, 0.1)], 5).tolist()
    [0, 1, 0, 0, 4]
    """
    return connected([(pair.query, pair.gallery) for pair in pairs], count)


def connected(pairs: Iterable[tuple[int, int]], count: int) -> npt.NDArray[np.int64]:
    """Return the connected component of each of ``count`` items, (count,): the smallest index in it.

    >>> connected([(0, 2), (3, 2)], 5).tolist()
    [0, 1, 0, 0, 4]
    """
    root = list(range(count))

    def find(item: int) -> int:
        while root[item] != item:
            root[item] = root[root[item]]
            item = root[item]
        return item

    for one, other in pairs:
        low, high = sorted((find(one), find(other)))
        root[high] = low
    return np.array([find(item) for item in range(count)], dtype=np.int64)


def _nearest(
    query: FeatureScan, asked: npt.NDArray[np.int64], gallery: FeatureScan, *, within: bool
) -> npt.NDArray[np.int64]:
    """Shortlist gallery images by the cosine of centred means: (queries, wanted), most similar first."""
    there = np.flatnonzero(gallery.valid.any(axis=1))
    wanted = max(0, min(FIRST_RIVAL + RIVALS, len(there) - within))
    # Means of images without a valid region are zero.
    centre = torch.from_numpy(gallery.means.sum(axis=0, dtype=np.float64) / max(1, len(there))).float()
    chunks = np.array_split(there, max(1, -(-len(there) // _CHUNK)))
    found = []
    for block in np.array_split(asked, max(1, -(-len(asked) // _BLOCK))):
        means = _centred(query, block, centre)
        scores, rows = torch.zeros(len(block), 0), torch.zeros(len(block), 0, dtype=torch.int64)
        for chunk in chunks:
            new = means @ _centred(gallery, chunk, centre).T
            if within:
                new[torch.from_numpy(block[:, None] == chunk)] = -torch.inf
            best = torch.cat([scores, new], dim=1).topk(min(wanted, scores.shape[1] + len(chunk)), dim=1)
            seen = torch.cat([rows, torch.from_numpy(chunk).expand(len(block), -1)], dim=1)
            scores, rows = best.values, seen.gather(1, best.indices)
        found.append(rows.numpy())
    return np.concatenate(found)


def _centred(scan: FeatureScan, rows: npt.NDArray[np.int64], centre: Tensor) -> Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(scan.means[rows]) - centre, dim=1)


def _region_distances(
    query: Split, image: int, gallery: Split, others: npt.NDArray[np.int64], centre: Tensor
) -> npt.NDArray[np.float64]:
    """Compute the distance of an image to each of the others, (others,).

    The larger of both directions, because every region of an empty sky has a good match in any image with some sky.
    """
    own, own_valid = unit_regions(query, np.array([image]), centre)
    theirs, valid = unit_regions(gallery, others, centre)
    for split in (query, gallery):
        split.features.release()
    cosines = torch.einsum("rf,osf->ors", own[0][own_valid[0]], theirs).masked_fill(~valid[:, None], -1.0)
    there = cosines.amax(dim=2).mean(dim=1)
    back = (cosines.amax(dim=1) * valid).sum(dim=1) / valid.sum(dim=1)
    return 1.0 - torch.minimum(there, back).double().numpy()


def _judge(candidates: npt.NDArray[np.float64], rivals: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.bool_], float]:
    """Decide which candidates are near-duplicates, given the distances of the rivals of each query.

    Returns:
        Mask of the candidates, and the largest distance at which one counts.
    """
    near = candidates <= SAME
    if rivals.size == 0:
        return near, SAME
    usual = np.maximum(rivals.mean(axis=1, keepdims=True), 1e-6)
    scale = max(_spread(np.log(np.maximum(rivals, 1e-6) / usual)), 0.01)
    ratio = np.maximum(candidates, 1e-6) / usual
    stands_out = (ratio <= MAX_DISTANCE_RATIO) & (np.log(ratio) <= -MIN_DEVIATIONS * scale)
    suspects = near | (stands_out & _before_gap(candidates, rivals))
    limit = max(_limit(candidates, rivals, suspects), SAME)
    return suspects & (candidates <= limit), limit


def _limit(
    candidates: npt.NDArray[np.float64], rivals: npt.NDArray[np.float64], suspects: npt.NDArray[np.bool_]
) -> float:
    """Compute the distance that only near-duplicates can have, from the nearest other image of every query.

    Near-duplicates form a population of their own. If the nearest images that are not suspects are about as close as
    the suspects, the suspects are only the most similar of many similar images.
    """
    nearest = np.minimum(np.where(suspects, np.inf, candidates).min(axis=1), rivals.min(axis=1))
    logarithms = np.log(np.maximum(nearest, 1e-6))
    spread = max(_spread(logarithms), MIN_SPREAD)
    return float(np.exp(np.median(logarithms) - MIN_NEIGHBOUR_DEVIATIONS * spread))


def _spread(values: npt.NDArray[np.float64]) -> float:
    """Compute the median absolute deviation, scaled to the standard deviation of a normal distribution."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _before_gap(candidates: npt.NDArray[np.float64], rivals: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Decide which candidates come before the widest gap in the distances of a query, if that gap is wide enough.

    Among images that only resemble each other, distances grow evenly.
    """
    everything = np.sort(np.maximum(np.concatenate([candidates, rivals], axis=1), 1e-6), axis=1)
    gaps = everything[:, 1:] / everything[:, :-1]
    widest = gaps.argmax(axis=1)[:, None]
    last = np.take_along_axis(everything, widest, axis=1)
    return (np.take_along_axis(gaps, widest, axis=1) >= MIN_GAP) & (np.maximum(candidates, 1e-6) <= last)
