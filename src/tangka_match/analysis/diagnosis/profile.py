"""Interpretation of a recall profile (R@1, R@5, R@10): weak model, or duplicates?"""

from collections.abc import Sequence
from math import comb
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.analysis.diagnosis.power import recall_interval
from tangka_match.errors import ConfigError
from tangka_match.metric_names import CUTOFFS

MIN_R1_RATIO = 0.7
"""Lowest usual ratio of a model's R@1 to the R@1 that `recall_profile` gives for its R@10. Published text→image
profiles have 0.70 to 0.94: SGRAF on Flickr30K 58.5 of 62.3, on COCO-1K 63.2 of 79.7, on COCO-5K 41.9 of 54.3; SCAN on
Flickr30K 48.6 of 56.0; VSE++ on Flickr30K 39.6 of 47.6, on COCO-1K 52.0 of 68.9, on COCO-5K 30.3 of 43.1."""


def recall_profile(separation: float, gallery: int, group_sizes: Sequence[int]) -> tuple[float, float, float]:
    """Compute R@1, R@5 and R@10, in percent, of a model of a given strength on a gallery with duplicates.

    The equal-variance normal model of signal detection (Green and Swets 1966): negatives score N(0, 1), the positive
    scores N(separation, 1), and its duplicates score the same as the positive, ranked in random order.

    Args:
        separation: Difference of the mean scores of positives and negatives, in standard deviations (d′).
        gallery: Number of gallery items, at least 1.
        group_sizes: Size of the positive's duplicate group for each query, the positive included.

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


Reading = Literal["weak_model", "duplicates", "look_alikes", "at_ceiling", "above"]


class ProfileReading(NamedTuple):
    """Interpretation of a recall profile.

    Attributes:
        looks_like: ``weak_model``: R@1 is usual for a set without duplicates; ``duplicates``: usual with the duplicates
            found; ``look_alikes``: lower than both; ``at_ceiling``: the ceiling is within the 95 % interval of R@1;
            ``above``: above the ceiling.
        without: Lowest and highest usual R@1 (percent) for this R@10 without duplicates.
        with_found: The same with the duplicates found.
        interval: 95 % interval of R@1 (percent), with one query per image.
    """

    looks_like: Reading
    without: tuple[float, float]
    with_found: tuple[float, float]
    interval: tuple[float, float]


def read_profile(profile: Sequence[float], gallery: int, group_sizes: Sequence[int], best: float) -> ProfileReading:
    """Decide whether R@1, R@5 and R@10 look like duplicates or like a weak model.

    Small groups hardly change R@10, so it determines the strength of the model; the gap between the R@1 expected at
    that strength and the actual R@1 is due to confusion at the top. Some of it is usual: see ``MIN_R1_RATIO``.

    Args:
        profile: R@1, R@5, R@10 in percent.
        gallery: Number of gallery items.
        group_sizes: Size of the positive's duplicate group for each query, the positive included.
        best: Ceiling of R@1, in percent.

    Raises:
        ConfigError: If the profile is not three rising percentages.
    """
    check_profile(profile)
    low, high = interval = recall_interval(profile[0], gallery)
    without, with_found = (_usual(profile[2], gallery, sizes) for sizes in ([1], group_sizes))
    looks_like: Reading = "look_alikes"
    if low > best:
        looks_like = "above"
    elif max(high, profile[0]) >= best:
        looks_like = "at_ceiling"
    elif high >= without[0]:
        looks_like = "weak_model"
    elif high >= with_found[0]:
        looks_like = "duplicates"
    return ProfileReading(looks_like, without, with_found, interval)


def _usual(r10: float, gallery: int, group_sizes: Sequence[int]) -> tuple[float, float]:
    """Return the lowest and the highest usual R@1 for this R@10."""
    expected = recall_profile(_strength(r10, gallery, group_sizes), gallery, group_sizes)[0]
    return MIN_R1_RATIO * expected, expected


def _within_first(above: Float[Tensor, " P"], others: int, most: int) -> list[Float[Tensor, " P"]]:
    """Compute the probability that at most 0, 1, … ``most`` - 1 of the others score higher, at each point."""
    running, reached = torch.zeros_like(above), []
    for count in range(most):
        if count <= others:
            running = running + float(comb(others, count)) * above**count * (1 - above) ** (others - count)
        reached.append(running)
    return reached


def _strength(r10: float, gallery: int, group_sizes: Sequence[int]) -> float:
    """Find the separation that gives this R@10, by bisection."""
    low, high = -2.0, 12.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if recall_profile(middle, gallery, group_sizes)[2] < r10 else (low, middle)
    return low


def check_profile(profile: Sequence[float]) -> None:
    """Check that a profile is three rising percentages.

    Raises:
        ConfigError: If it is not.
    """
    if len(profile) != 3 or not 0 <= profile[0] <= profile[1] <= profile[2] <= 100:
        raise ConfigError(
            f"profile={list(profile)}: expected three rising percentages, R@1, R@5 and R@10, such as "
            "profile=[33.88,79.61,91.18]"
        )
