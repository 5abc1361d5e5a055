"""Regions and words hidden in their place: unlike dropped ones, they still count."""

import torch
from torch import Tensor

from tangka_match.data.vocabulary import Vocabulary


def mask_regions(regions: Tensor, region_mask: Tensor, share: float) -> Tensor:
    """Put the mean of an image's regions in the place of each real region with probability ``share``.

    The mean says nothing about the one region, and stays in the range of the features, which zeros do not.

    Args:
        regions: (B, R, F), any values where the mask is ``False``.
        region_mask: (B, R) bool, ``True`` = real.
        share: In [0, 1).
    """
    real = region_mask[..., None]
    total = regions.float().masked_fill(~real, 0.0).sum(dim=1, keepdim=True)
    mean = total / real.sum(dim=1, keepdim=True).clamp(min=1)
    hidden = region_mask & (torch.rand(region_mask.shape, device=region_mask.device) < share)
    return torch.where(hidden[..., None], mean.to(regions.dtype), regions)


def mask_words(token_ids: Tensor, token_mask: Tensor, share: float) -> Tensor:
    """Put ``<unk>`` in the place of each word with probability ``share``; ``<start>`` and ``<end>`` stay.

    Args:
        token_ids: (B, T) int64.
        token_mask: (B, T) bool, ``True`` = real.
        share: In [0, 1).
    """
    hidden = inner_words(token_mask) & (torch.rand(token_ids.shape, device=token_ids.device) < share)
    return token_ids.masked_fill(hidden, Vocabulary.UNK)


def inner_words(token_mask: Tensor) -> Tensor:
    """(B, T) bool, ``True`` at real words that are neither ``<start>`` nor ``<end>``.

    >>> inner_words(torch.tensor([[True, True, True, True, False]])).tolist()
    [[False, True, True, False, False]]
    """
    positions = torch.arange(token_mask.shape[1], device=token_mask.device)
    last = token_mask.sum(dim=1, keepdim=True) - 1
    return token_mask & (positions > 0) & (positions < last)
