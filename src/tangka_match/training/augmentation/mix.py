"""Regions of another image of the batch among an image's own; the pair keeps its caption."""

import torch
from torch import Tensor


def mix_regions(regions: Tensor, region_mask: Tensor, share: float) -> Tensor:
    """Replace each real region with probability ``share`` by the region in its place of another image of the batch.

    It is CutMix (Yun et al. 2019, arXiv:1905.04899) on regions, with a share small enough that the label stays: an
    image draws one partner, and keeps a region where the partner has none.

    Args:
        regions: (B, R, F).
        region_mask: (B, R) bool, ``True`` = real.
        share: In [0, 1).
    """
    count, device = len(regions), regions.device
    if count < 2:
        return regions
    partner = (torch.arange(count, device=device) + torch.randint(1, count, (count,), device=device)) % count
    swapped = region_mask & region_mask[partner] & (torch.rand(region_mask.shape, device=device) < share)
    return torch.where(swapped[..., None], regions[partner], regions)
