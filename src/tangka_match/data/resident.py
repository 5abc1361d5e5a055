"""Region features kept on a GPU, so that a training batch is a list of indices."""

from typing import NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tangka_match.data.features import Features
from tangka_match.data.regions import read_regions
from tangka_match.data.split import Split
from tangka_match.types import RegionTextBatch

SHARE_OF_MEMORY = 0.4
"""How much of a GPU's free memory features may take; the rest is the model's."""

_ROWS_AT_ONCE = 256


class ResidentFeatures(NamedTuple):
    """All region features of a split on one device, in the dtype they are stored in.

    Args:
        regions: (N, R, F); 2,910 images of 36 x 2,048 in float16 take 429 MB.
        region_mask: (N, R), ``True`` where a region is real.
    """

    regions: Float[Tensor, "N R F"]
    region_mask: Bool[Tensor, "N R"]

    @classmethod
    def load(cls, split: Split, device: torch.device) -> Self:
        """Read a split once, check it, and keep it on the device.

        Raises:
            DataFormatError: If the features of an image are not finite or are all zeros.
        """
        features = split.features
        dtype = torch.from_numpy(np.empty(0, features.dtype)).dtype
        shape = (features.num_images, features.num_regions, features.feature_dim)
        regions = torch.empty(shape, dtype=dtype, device=device)
        region_mask = torch.empty(shape[:2], dtype=torch.bool, device=device)
        for start in range(0, features.num_images, _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, features.num_images))
            for whole, part in zip((regions, region_mask), read_regions(features, rows, split.image_ids), strict=True):
                whole[start : start + len(rows)] = torch.from_numpy(part).to(device)
        return cls(regions, region_mask)

    def fill(self, batch: RegionTextBatch) -> RegionTextBatch:
        """Put the regions of its images into a batch that has come to the device without them."""
        rows = batch.image_index
        return batch._replace(regions=self.regions[rows], region_mask=self.region_mask[rows])


def worth_keeping(features: Features, device: torch.device) -> bool:
    """Whether features are kept on the device where the choice is left to us: on a GPU, where they fit."""
    if device.type != "cuda":
        return False  # a CPU reads them from the page cache as fast
    size = features.num_images * features.num_regions * features.feature_dim * features.dtype.itemsize
    return size <= SHARE_OF_MEMORY * torch.cuda.mem_get_info(device)[0]
