"""Random region and word drop."""

import torch
from torch import Tensor

from tangka_match.types import RegionTextBatch


def drop_regions(region_mask: Tensor, share: float) -> Tensor:
    """Mask out each real region with probability ``share``; an image always keeps at least one.

    Args:
        region_mask: (B, R) bool, ``True`` = real.
        share: In [0, 1).

    Returns:
        (B, R) bool, a subset of ``region_mask``.
    """
    noise = torch.rand(region_mask.shape, device=region_mask.device).masked_fill(~region_mask, -1.0)
    luckiest = torch.zeros_like(region_mask).scatter_(1, noise.argmax(dim=1, keepdim=True), True)
    return region_mask & ((noise >= share) | luckiest)


def drop_words(token_ids: Tensor, token_mask: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Take each word out of its caption with probability ``share``; ``<start>``, ``<end>`` and the order stay.

    Args:
        token_ids: (B, T) int64, padded at the end.
        token_mask: (B, T) bool, ``True`` = real.
        share: In [0, 1).

    Returns:
        Ids and mask of the shortened captions, (B, T), padded at the end again.
    """
    positions = torch.arange(token_ids.shape[1], device=token_ids.device)
    last = token_mask.sum(dim=1, keepdim=True) - 1
    sentinel = (positions == 0) | (positions == last)
    kept = token_mask & (sentinel | (torch.rand(token_ids.shape, device=token_ids.device) >= share))
    order = torch.sort(kept, dim=1, descending=True, stable=True).indices
    mask = kept.gather(1, order)
    return token_ids.gather(1, order).masked_fill(~mask, 0), mask


class RegionWordDrop:
    """The size augmentation of VSE∞ (Chen et al. 2021, arXiv:2011.04305, section 4.3) on both sides of a pair.

    Args:
        region_drop: Share of an image's regions left out, in [0, 1).
        word_drop: Share of a caption's words left out, in [0, 1).
    """

    def __init__(self, region_drop: float, word_drop: float) -> None:
        self.region_drop = region_drop
        self.word_drop = word_drop

    def __call__(self, batch: RegionTextBatch) -> RegionTextBatch:
        """Return the batch with some regions masked and some captions shortened."""
        if self.region_drop:
            batch = batch._replace(region_mask=drop_regions(batch.region_mask, self.region_drop))
        if self.word_drop:
            ids, mask = drop_words(batch.token_ids, batch.token_mask, self.word_drop)
            batch = batch._replace(token_ids=ids, token_mask=mask)
        return batch
