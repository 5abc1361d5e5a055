"""Probability that image and caption of a pair do not belong together, from held-out scores.

A pair fits as well as its score exceeds those of its nearest rivals (`pair_margins`). The margins of wrong pairs are
known: every image with the caption of another one is such a pair. The *level* of a pair is the share of them that fit
worse: uniform in [0, 1] for a mismatched pair, close to 1 for a correct one. The levels of all pairs are thus a mixture
of a uniform and an increasing density, as p-values are in multiple testing, and the probability of a mismatch is the
local false discovery rate (Efron et al. 2001, JASA 96:1151-1160). The share of mismatched pairs is estimated as in
Storey (2002, JRSS B 64:479-498), the density of the levels as in Grenander (1956).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

RIVALS = 10
"""Nearest rivals of an image, and of a caption, that a score is compared with; the number of CSLS (Conneau et al. 2018,
arXiv:1710.04087)."""

SPLIT_LEVEL = 0.5
"""Level below which all pairs are taken for mismatched in the estimate of their share."""


class Mismatch(NamedTuple):
    """Result of `find_mismatches`.

    Attributes:
        probability: (P,) probability that a pair is mismatched.
        share: Estimated share of mismatched pairs; too high rather than too low, because the model fails on some
            correct pairs.
    """

    probability: npt.NDArray[np.float64]
    share: float


def pair_margins(similarity: Float[Tensor, "I C"], owners: npt.NDArray[np.int64]) -> Float[Tensor, "I C"]:
    """Compute by how much each score exceeds those of the nearest rivals.

    The margin of image i and caption c is ``s(i, c) - (a(i) + b(c)) / 2``: a is the mean of the ``RIVALS`` highest
    scores of the image with captions of other images, b that of the caption with other images.

    Args:
        similarity: (I, C) scores.
        owners: (C,) row of each caption's image; at least two images.

    Example:
        Each image has one rival; caption 0 fits image 1 better than its own:

        >>> pair_margins(torch.tensor([[0.1, 0.2], [0.5, 0.9]]), np.array([0, 1]))
        tensor([[-0.2500,  0.0000],
                [ 0.0000,  0.5500]])
    """
    own = torch.as_tensor(owners)[None, :] == torch.arange(len(similarity))[:, None]
    wrong = similarity.masked_fill(own, -torch.inf)
    captions = min(RIVALS, int((~own).sum(dim=1).min()))
    images = min(RIVALS, len(similarity) - 1)
    of_images = wrong.topk(captions, dim=1).values.mean(dim=1, keepdim=True)
    of_captions = wrong.topk(images, dim=0).values.mean(dim=0, keepdim=True)
    return similarity - (of_images + of_captions) / 2


def pair_levels(similarity: Float[Tensor, "I C"], owners: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Compute the level of each pair, (C,): the share of wrong pairs with a smaller margin; ties count half.

    Args:
        similarity: (I, C) scores of a gallery.
        owners: (C,) row of each caption's image; at least two images.

    >>> pair_levels(torch.tensor([[0.1, 0.2], [0.5, 0.9]]), np.array([0, 1]))
    array([0., 1.])
    """
    margins = pair_margins(similarity, owners).double().numpy()
    columns = np.arange(len(owners))
    wrong = np.ones(margins.shape, dtype=np.bool_)
    wrong[owners, columns] = False
    ordered = np.sort(margins[wrong])
    below, up_to = (np.searchsorted(ordered, margins[owners, columns], side) for side in ("left", "right"))
    return (below + up_to) / (2 * len(ordered))


def find_mismatches(levels: npt.NDArray[np.float64]) -> Mismatch:
    """Compute the probability that each pair is mismatched.

    Args:
        levels: (P,) levels from `pair_levels`, of all galleries.

    Example:
        Of ten pairs one is below ``SPLIT_LEVEL``, so a share of 0.2 is taken for mismatched. From 0.1 to 0.9 there is
        one pair, a density of 1 / (10 * 0.8), below 0.2: that pair is mismatched. From 0.9 on there are nine in 0.1:

        >>> levels = np.array([0.1, 0.9, 0.92, 0.94, 0.96, 0.97, 0.98, 0.985, 0.99, 1.0])
        >>> found = find_mismatches(levels)
        >>> found.share, found.probability.round(2).tolist()
        (0.2, [1.0, 0.04, 0.04, 0.04, 0.02, 0.02, 0.01, 0.01, 0.01, 0.0])
    """
    share = min(1.0, float((levels < SPLIT_LEVEL).mean()) / SPLIT_LEVEL)
    return Mismatch(np.minimum(1.0, share / _increasing_density(levels)), share)


def _increasing_density(levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Estimate the density at each level, (P,), which increases in the level: pooled adjacent intervals.

    The interval from each level to the next counts the pairs at that level; the last one ends at 1. Neighbours are
    merged until the densities increase, which gives the slopes of the greatest convex minorant of the distribution
    function.
    """
    different, place, counts = np.unique(levels, return_inverse=True, return_counts=True)
    merged: list[tuple[int, int, float]] = []  # number of levels, number of pairs and width of each interval
    for count, width in zip(counts.tolist(), np.diff(different, append=1.0).tolist(), strict=True):
        part = (1, count, width)
        while merged and merged[-1][1] * part[2] >= part[1] * merged[-1][2]:
            earlier = merged.pop()
            part = (earlier[0] + part[0], earlier[1] + part[1], earlier[2] + part[2])
        merged.append(part)
    density = [pairs / (len(levels) * max(width, 1e-12)) for _, pairs, width in merged]
    return np.repeat(density, [number for number, _, _ in merged])[place]
