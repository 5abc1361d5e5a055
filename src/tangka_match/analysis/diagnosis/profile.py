"""What a profile of recalls says about the model that has it: is it weak, or do duplicates stand in its way?"""

from collections.abc import Sequence
from math import comb, sqrt
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.metric_names import CUTOFFS

USUAL = 0.7
"""Published text→image profiles have 0.70 to 0.94 of the R@1 that `recall_profile` gives for their R@10: SGRAF on
Flickr30K 58.5 of 62.3, on COCO-1K 63.2 of 79.7, on COCO-5K 41.9 of 54.3; SCAN on Flickr30K 48.6 of 56.0; VSE++ on
Flickr30K 39.6 of 47.6, on COCO-1K 52.0 of 68.9, on COCO-5K 30.3 of 43.1."""


def recall_profile(separation: float, gallery: int, group_sizes: Sequence[int]) -> tuple[float, float, float]:
    """R@1, R@5 and R@10, in percent, of a model of one strength on a gallery with duplicates.

    The equal-variance normal model of signal detection (Green and Swets 1966): a query's wrong items score N(0, 1), its
    own N(separation, 1), items of one duplicate group exactly as its own, in random order.

    Args:
        separation: Strength of the model.
        gallery: Items that a query chooses from, at least 1.
        group_sizes: For each query, items that are as good as its own, itself included.

    >>> [round(recall) for recall in recall_profile(3.0, 363, [1])]
    [53, 77, 85]
    >>> [round(recall) for recall in recall_profile(3.0, 363, [2])]
    [26, 76, 85]
    """
    points = torch.linspace(-6, 6, 241, dtype=torch.float64)
    weights = torch.exp(-points.square() / 2)
    above = torch.special.ndtr(-(points + separation)).clamp(1e-300, 1 - 1e-12)
    sizes, counts = np.unique(np.asarray(group_sizes), return_counts=True)
    total = torch.zeros(len(CUTOFFS), dtype=torch.float64)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        reached = _within_first(above, max(gallery - size, 0), max(CUTOFFS))
        at = [torch.stack([reached[k - 1 - place] for place in range(min(size, k))]).sum(dim=0) / size for k in CUTOFFS]
        total += count * (torch.stack(at) * weights).sum(dim=1) / weights.sum()
    r1, r5, r10 = (100.0 * total / counts.sum()).tolist()
    return r1, r5, r10


class Reading(NamedTuple):
    """What a profile looks like.

    Attributes:
        looks_like: ``weak_model``: R@1 is as a model without duplicates has it; ``duplicates``: as those found make it;
            ``look_alikes``: lower than either; ``above``: beyond the ceiling.
        without: Lowest and highest R@1 usual for this R@10 where nothing is alike.
        with_found: The same with the duplicates found.
        half_width: Of R@1's 95 % interval.
    """

    looks_like: Literal["weak_model", "duplicates", "look_alikes", "above"]
    without: tuple[float, float]
    with_found: tuple[float, float]
    half_width: float


def read_profile(profile: Sequence[float], gallery: int, group_sizes: Sequence[int], best: float) -> Reading:
    """Say whether R@1, R@5 and R@10 look like duplicates or like a weak model.

    R@10 hardly feels small groups, so it gives the strength; how far R@1 lies below what that strength promises is what
    confusion among the first few costs. Some of it is usual: see ``USUAL``.

    Args:
        profile: R@1, R@5, R@10 in percent.
        gallery: Items that a query chooses from.
        group_sizes: For each query, items as good as its own, itself included.
        best: The ceiling of R@1, in percent.

    Raises:
        ConfigError: If the profile is not three rising percentages.
    """
    check_profile(profile)
    share = profile[0] / 100
    half_width = 196.0 * sqrt(max(share * (1 - share), 1e-4) / len(group_sizes))
    without, with_found = (_usual(profile[2], gallery, sizes) for sizes in ([1], group_sizes))
    looks_like: Literal["weak_model", "duplicates", "look_alikes", "above"] = "look_alikes"
    if profile[0] > best + half_width:
        looks_like = "above"
    elif profile[0] >= without[0] - half_width:
        looks_like = "weak_model"
    elif profile[0] >= with_found[0] - half_width:
        looks_like = "duplicates"
    return Reading(looks_like, without, with_found, half_width)


def _usual(r10: float, gallery: int, group_sizes: Sequence[int]) -> tuple[float, float]:
    """Lowest and highest R@1 usual for this R@10."""
    promised = recall_profile(_strength(r10, gallery, group_sizes), gallery, group_sizes)[0]
    return USUAL * promised, promised


def _within_first(above: Float[Tensor, " P"], others: int, most: int) -> list[Float[Tensor, " P"]]:
    """Chance that at most 0, 1, … ``most`` - 1 of the others score higher, at each point."""
    running, reached = torch.zeros_like(above), []
    for count in range(most):
        if count <= others:
            running = running + float(comb(others, count)) * above**count * (1 - above) ** (others - count)
        reached.append(running)
    return reached


def _strength(r10: float, gallery: int, group_sizes: Sequence[int]) -> float:
    """The separation that gives this R@10, by bisection."""
    low, high = -2.0, 12.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if recall_profile(middle, gallery, group_sizes)[2] < r10 else (low, middle)
    return low


def check_profile(profile: Sequence[float]) -> None:
    """Make sure that a profile is one.

    Raises:
        ConfigError: If it is not three rising percentages.
    """
    if len(profile) != 3 or not 0 <= profile[0] <= profile[1] <= profile[2] <= 100:
        raise ConfigError(
            f"profile={list(profile)}: allowed are three percentages that rise, R@1, R@5 and R@10, such as "
            "profile=[33.88,79.61,91.18]"
        )
