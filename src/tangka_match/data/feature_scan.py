"""Read the region features of a split: statistics in a single pass, and normalised regions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import rich
import torch
from jaxtyping import Bool, Float
from rich.progress import track
from torch import Tensor

from tangka_match.data.regions import real_regions
from tangka_match.data.split import Split

BLOCK = 64
"""Images per read: 20 MB of float32 at 36 regions of 2,048."""

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class FeatureScan:
    """Statistics of N images with R regions of F dimensions; 8 kB per image at F = 2,048.

    Args:
        means: (N, F) float32, mean over the valid regions of each image, each region scaled to unit norm; zeros if an
            image has none. Independent of the scale of the features.
        real: (N, R), ``True`` if a region is not all zeros.
        finite: (N, R), ``True`` if a region has no NaN or Inf.
        norms: (N, R) float32, L2 norm of each valid region; 0 for the others.
        lowest, highest: (F,) float32, range of each dimension over the valid regions.
        centre: (F,) float32, mean of all valid regions, each scaled to unit norm.
    """

    means: npt.NDArray[np.float32]
    real: npt.NDArray[np.bool_]
    finite: npt.NDArray[np.bool_]
    norms: npt.NDArray[np.float32]
    lowest: npt.NDArray[np.float32]
    highest: npt.NDArray[np.float32]
    centre: npt.NDArray[np.float32]

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """(N, R), ``True`` if a region is neither padding nor damaged."""
        return self.real & self.finite


def scan_features(split: Split) -> FeatureScan:
    """Compute the statistics of a split in a single pass over its features.

    Args:
        split: Split; its features may be damaged.
    """
    shape = (split.num_images, split.features.num_regions)
    real, finite = np.empty(shape, bool), np.empty(shape, bool)
    norms = np.zeros(shape, np.float32)
    means = np.zeros((split.num_images, split.features.feature_dim), np.float32)
    lowest = torch.full((split.features.feature_dim,), torch.inf)
    highest = -lowest
    total = torch.zeros(split.features.feature_dim, dtype=torch.float64)
    for start in track_progress(range(0, split.num_images, BLOCK), f"reading the features of {split.name}"):
        rows = np.arange(start, min(start + BLOCK, split.num_images))
        stored = split.features.read(rows)
        real[rows], finite[rows] = real_regions(stored)
        valid = torch.from_numpy(real[rows] & finite[rows])
        values = torch.from_numpy(stored).float().masked_fill(~valid[..., None], 0.0)
        norms[rows] = values.norm(dim=-1).numpy()
        units = torch.nn.functional.normalize(values, dim=-1)
        sums = units.sum(dim=1)
        total += sums.sum(dim=0)
        means[rows] = (sums / valid.sum(dim=1, keepdim=True).clamp(min=1)).numpy()
        if valid.any():
            lowest = torch.minimum(lowest, values[valid].amin(dim=0))
            highest = torch.maximum(highest, values[valid].amax(dim=0))
        split.features.release()
    centre = (total.numpy() / max(1, int((real & finite).sum()))).astype(np.float32)
    return FeatureScan(means, real, finite, norms, lowest.numpy(), highest.numpy(), centre)


def unit_regions(
    split: Split, rows: npt.NDArray[np.int64], centre: Float[Tensor, " F"]
) -> tuple[Float[Tensor, "N R F"], Bool[Tensor, "N R"]]:
    """Read regions, scale them to unit norm, centre them and scale them again.

    Args:
        split: Split to read from.
        rows: Rows of N images.
        centre: (F,) mean of the unit-norm regions of a split.

    Returns:
        Regions (N, R, F), and a mask of the valid ones (N, R).
    """
    values = torch.from_numpy(split.features.read(rows)).float()
    valid = values.isfinite().all(dim=-1) & (values != 0).any(dim=-1)
    units = torch.nn.functional.normalize(values.masked_fill(~valid[..., None], 0.0), dim=-1)
    return torch.nn.functional.normalize(units - centre, dim=-1), valid


def track_progress(items: Sequence[Item], description: str) -> Iterable[Item]:
    """Iterate over items with a progress bar on a terminal, and without one elsewhere.

    Args:
        items: Items, such as blocks of features to read.
        description: Text in front of the bar.
    """
    console = rich.get_console()
    return track(items, description, console=console, transient=True, disable=not console.is_terminal)
