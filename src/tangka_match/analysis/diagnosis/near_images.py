"""Pictures that are nearly the same, found by their region features."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tangka_match.analysis.diagnosis.feature_scan import FeatureScan, watched
from tangka_match.data.split import Split

SAME = 0.01
"""Mean cosine distance of best-matching regions up to which two images are one picture, whatever the rest of the set
looks like: float16 and another run of the same extractor stay well below."""

CLOSER = 0.75
"""Otherwise near-duplicates are at most this share as far apart as one is from pictures that merely resemble it ..."""

BEYOND_CHANCE = 10.0
"""... and that many robust standard deviations closer than such pictures differ among themselves."""

GAP = 1.2
"""The next picture after the near-duplicates is at least so many times as far."""

CANDIDATES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 18, 23, 29, 38)
"""Ranks by mean features that are looked at region by region: dense at first, then in steps of a quarter, so that a gap
after a large group is seen as well."""

FIRST_RIVAL, RIVALS = 50, 8
FEWEST_IMAGES = 16
"""In a smaller gallery there is nothing to compare a distance with: only ``SAME`` counts."""

MOST_QUERIES = 3_000
"""Images that are compared region by region; of a larger split an evenly spread sample."""

_BLOCK = 512


class NearPair(NamedTuple):
    """Two images that are nearly the same.

    Attributes:
        query: Its index.
        gallery: Index of the other one.
        distance: Mean cosine distance of the regions of one to the best-matching regions of the other, the larger of
            the two directions, in [0, 2].
    """

    query: int
    gallery: int
    distance: float


def near_images(query: Split, query_scan: FeatureScan, gallery: Split, gallery_scan: FeatureScan) -> list[NearPair]:
    """Find the gallery images that show nearly the same as a query image.

    Two steps, in bounded memory: the nearest images by the cosine of mean features (centred on the gallery's mean),
    then region by region. Regions may come in any order: each region of the query is matched with the most alike of
    the other image. How far apart near-duplicates are depends on the extractor, from 0.01 to 0.5, so their distance is
    compared with that of *rivals*, pictures of rank 50 to 57, in two ways (``CLOSER``, ``BEYOND_CHANCE``).

    Images without a good region take no part.

    Args:
        query: Split whose images are asked for.
        query_scan: Its features.
        gallery: The split that is searched; the same object for duplicates within a split.
        gallery_scan: Its features.

    Returns:
        Pairs, by query; within one split each pair once, ``query`` the lower index.
    """
    within = query is gallery
    asked = np.flatnonzero(query_scan.good.any(axis=1))
    if len(asked) > MOST_QUERIES:
        asked = asked[np.linspace(0, len(asked) - 1, MOST_QUERIES).astype(np.int64)]
    order = _nearest(query_scan, asked, gallery_scan, within=within)
    others = order.shape[1]
    if others == 0:
        return []
    first_rival = min(FIRST_RIVAL, others // 2) if others >= FEWEST_IMAGES else others
    columns = [rank for rank in CANDIDATES if rank < first_rival]
    near_columns = len(columns)
    columns += range(first_rival, min(first_rival + RIVALS, others))
    centre = torch.from_numpy(gallery_scan.centre)
    distances = np.stack(
        [
            _region_distances(query, int(asked[place]), gallery, order[place, columns], centre)
            for place in watched(range(len(asked)), f"comparing images of {query.name} with {gallery.name}")
        ]
    )
    near = _judge(distances[:, :near_columns], distances[:, near_columns:])
    found = {
        (min(a, b), max(a, b)) if within else (a, b): float(distances[row, column])
        for row, column in np.argwhere(near)
        for a, b in [(int(asked[row]), int(order[row, column]))]
    }
    return [NearPair(*pair, distance) for pair, distance in sorted(found.items())]


def group_pairs(pairs: list[NearPair], count: int) -> npt.NDArray[np.int64]:
    """Number the images such that those joined by pairs, directly or through others, share a number.

    >>> group_pairs([NearPair(0, 2, 0.1), NearPair(2, 3, 0.1)], 5).tolist()
    [0, 1, 0, 0, 4]
    """
    root = list(range(count))

    def find(item: int) -> int:
        while root[item] != item:
            root[item] = root[root[item]]
            item = root[item]
        return item

    for pair in pairs:
        low, high = sorted((find(pair.query), find(pair.gallery)))
        root[high] = low
    return np.array([find(item) for item in range(count)], dtype=np.int64)


def _nearest(
    query: FeatureScan, asked: npt.NDArray[np.int64], gallery: FeatureScan, *, within: bool
) -> npt.NDArray[np.int64]:
    """Gallery images in order of the cosine of centred means, as far as they are needed: (asked, wanted)."""
    there = np.flatnonzero(gallery.good.any(axis=1))
    wanted = max(0, min(FIRST_RIVAL + RIVALS, len(there) - within))
    centre = torch.from_numpy(gallery.means[there].mean(axis=0)) if len(there) else torch.zeros(1)
    targets = torch.nn.functional.normalize(torch.from_numpy(gallery.means[there]) - centre, dim=1)
    found = []
    for block in np.array_split(asked, max(1, -(-len(asked) // _BLOCK))):
        means = torch.nn.functional.normalize(torch.from_numpy(query.means[block]) - centre, dim=1)
        scores = means @ targets.T
        if within:
            scores[torch.from_numpy(block[:, None] == there)] = -torch.inf
        found.append(there[scores.topk(wanted, dim=1).indices.numpy()])
    return np.concatenate(found)


def _region_distances(
    query: Split, image: int, gallery: Split, others: npt.NDArray[np.int64], centre: Tensor
) -> npt.NDArray[np.float64]:
    """Distance of an image to each of the others, (others,): regions to the best-matching ones, the farther direction.

    Both directions, because every region of an empty sky has a good match in any picture with some sky.
    """
    own, own_good = unit_regions(query, np.array([image]), centre)
    theirs, good = unit_regions(gallery, others, centre)
    cosines = torch.einsum("rf,osf->ors", own[0][own_good[0]], theirs).masked_fill(~good[:, None], -1.0)
    there = cosines.amax(dim=2).mean(dim=1)
    back = (cosines.amax(dim=1) * good).sum(dim=1) / good.sum(dim=1)
    return 1.0 - torch.minimum(there, back).double().numpy()


def unit_regions(split: Split, rows: npt.NDArray[np.int64], centre: Tensor) -> tuple[Tensor, Tensor]:
    """Regions scaled to norm 1, centred, and scaled again (rows, R, F), and which of them are good (rows, R).

    Args:
        split: Where they are read from.
        rows: Of the images.
        centre: (F,), mean of a split's regions of norm 1.
    """
    values = torch.from_numpy(split.features.read(rows)).float()
    good = values.isfinite().all(dim=-1) & (values != 0).any(dim=-1)
    units = torch.nn.functional.normalize(values.masked_fill(~good[..., None], 0.0), dim=-1)
    return torch.nn.functional.normalize(units - centre, dim=-1), good


def _judge(candidates: npt.NDArray[np.float64], rivals: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which candidates are near-duplicates, given the distances of each query's rivals."""
    near = candidates <= SAME
    if rivals.size == 0:
        return near
    usual = np.maximum(rivals.mean(axis=1, keepdims=True), 1e-6)
    spread = np.log(np.maximum(rivals, 1e-6) / usual)
    scale = max(1.4826 * float(np.median(np.abs(spread - np.median(spread)))), 0.01)
    ratio = np.maximum(candidates, 1e-6) / usual
    stands_out = (ratio <= CLOSER) & (np.log(ratio) <= -BEYOND_CHANCE * scale)
    return near | (stands_out & _before_gap(candidates, rivals))


def _before_gap(candidates: npt.NDArray[np.float64], rivals: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which candidates come before the widest gap in the distances of a query, where that gap is wide enough.

    In a crowd of pictures that merely look alike, distances grow evenly.
    """
    everything = np.sort(np.maximum(np.concatenate([candidates, rivals], axis=1), 1e-6), axis=1)
    gaps = everything[:, 1:] / everything[:, :-1]
    widest = gaps.argmax(axis=1)[:, None]
    last = np.take_along_axis(everything, widest, axis=1)
    return (np.take_along_axis(gaps, widest, axis=1) >= GAP) & (np.maximum(candidates, 1e-6) <= last)
