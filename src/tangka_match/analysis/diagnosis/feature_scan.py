"""One pass over the region features of a split: damage, padding, norms, and a mean vector an image."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import rich
import torch
from rich.progress import track

from tangka_match.data.regions import real_regions
from tangka_match.data.split import Split

Item = TypeVar("Item")


def watched(items: Sequence[Item], what: str) -> Iterable[Item]:
    """The items, with a bar that goes when they are done; none where the output is no terminal.

    Args:
        items: What is gone through.
        what: Stands before the bar.
    """
    console = rich.get_console()
    return track(items, what, console=console, transient=True, disable=not console.is_terminal)


BLOCK = 64
"""Images read at once: 20 MB of float32 at 36 regions of 2,048."""


@dataclass(frozen=True, eq=False)
class FeatureScan:
    """What one pass over N images of R regions in F dimensions found; 8 kB an image at F = 2,048.

    Args:
        means: (N, F) float32, mean of each image's good regions, each scaled to norm 1; zeros where it has none. So
            they do not depend on the scale of the features.
        real: (N, R), ``True`` where a region is not all zeros.
        finite: (N, R), ``True`` where a region holds no NaN or Inf.
        norms: (N, R) float32, L2 norm of each good region; 0 for the others.
        lowest, highest: (F,) float32, range of each dimension over the good regions.
        centre: (F,) float32, mean of all good regions, each scaled to norm 1.
    """

    means: npt.NDArray[np.float32]
    real: npt.NDArray[np.bool_]
    finite: npt.NDArray[np.bool_]
    norms: npt.NDArray[np.float32]
    lowest: npt.NDArray[np.float32]
    highest: npt.NDArray[np.float32]
    centre: npt.NDArray[np.float32]

    @property
    def good(self) -> npt.NDArray[np.bool_]:
        """(N, R), ``True`` where a region is neither padding nor damaged."""
        return self.real & self.finite


def scan_features(split: Split) -> FeatureScan:
    """Read a split's features once, a block at a time.

    Args:
        split: Opened, damaged or not.
    """
    shape = (split.num_images, split.features.num_regions)
    real, finite = np.empty(shape, bool), np.empty(shape, bool)
    norms = np.zeros(shape, np.float32)
    means = np.zeros((split.num_images, split.features.feature_dim), np.float32)
    lowest = torch.full((split.features.feature_dim,), torch.inf)
    highest = -lowest
    for start in watched(range(0, split.num_images, BLOCK), f"reading the features of {split.name}"):
        rows = np.arange(start, min(start + BLOCK, split.num_images))
        stored = split.features.read(rows)
        real[rows], finite[rows] = real_regions(stored)
        good = torch.from_numpy(real[rows] & finite[rows])
        values = torch.from_numpy(stored).float().masked_fill(~good[..., None], 0.0)
        norms[rows] = values.norm(dim=-1).numpy()
        units = torch.nn.functional.normalize(values, dim=-1)
        means[rows] = (units.sum(dim=1) / good.sum(dim=1, keepdim=True).clamp(min=1)).numpy()
        if good.any():
            lowest = torch.minimum(lowest, values[good].amin(dim=0))
            highest = torch.maximum(highest, values[good].amax(dim=0))
    counts = (real & finite).sum(axis=1)
    centre = (counts @ means / max(1, counts.sum())).astype(np.float32)
    return FeatureScan(means, real, finite, norms, lowest.numpy(), highest.numpy(), centre)
