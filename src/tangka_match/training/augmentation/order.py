"""Neighbouring words that change places."""

import torch
from torch import Tensor

from tangka_match.training.augmentation.mask import inner_words


def swap_words(token_ids: Tensor, token_mask: Tensor, share: float) -> Tensor:
    """Let neighbouring words change places with probability ``share`` (Wei & Zou 2019, arXiv:1901.11196).

    A caption is cut into pairs of words, from its first or its second one at random; each pair is swapped or not. No
    word moves by more than one place; ``<start>`` and ``<end>`` stay.

    Args:
        token_ids: (B, T) int64.
        token_mask: (B, T) bool, ``True`` = real.
        share: Of the pairs, in [0, 1).
    """
    device, (count, length) = token_ids.device, token_ids.shape
    positions = torch.arange(length, device=device)
    begin = torch.randint(1, 3, (count, 1), device=device)
    words = inner_words(token_mask)
    both = words & torch.cat([words[:, 1:], words.new_zeros(count, 1)], dim=1)
    moves_on = both & ((positions - begin) % 2 == 0) & (torch.rand(token_ids.shape, device=device) < share)
    moves_on &= positions >= begin
    moves_back = torch.cat([moves_on.new_zeros(count, 1), moves_on[:, :-1]], dim=1)
    return token_ids.gather(1, positions + moves_on.long() - moves_back.long())
