"""Words replaced by synonyms, on token ids."""

import torch
from torch import Tensor


class SynonymSwap:
    """Replaces words by one of their synonyms (Wei & Zou 2019, arXiv:1901.11196), by a table made beforehand.

    Args:
        alternatives: The ids of the synonyms of each word that has some (``data.synonyms``).
        vocab_size: Words in the vocabulary.
        share: Of the words that have synonyms, in [0, 1).
    """

    def __init__(self, alternatives: dict[int, tuple[int, ...]], vocab_size: int, share: float) -> None:
        widest = max(map(len, alternatives.values()), default=1)
        self._table = torch.arange(vocab_size)[:, None].repeat(1, widest)
        self._counts = torch.zeros(vocab_size, dtype=torch.long)
        for word, others in alternatives.items():
            self._table[word, : len(others)] = torch.tensor(others)
            self._counts[word] = len(others)
        self._share = share

    def __call__(self, token_ids: Tensor) -> Tensor:
        """Return the ids, (B, T), with some words replaced; each synonym is as likely as the others."""
        device = token_ids.device
        self._table, self._counts = self._table.to(device), self._counts.to(device)
        counts = self._counts[token_ids]
        replaced = (counts > 0) & (torch.rand(token_ids.shape, device=device) < self._share)
        choice = (torch.rand(token_ids.shape, device=device) * counts).long().clamp(max=self._table.shape[1] - 1)
        return torch.where(replaced, self._table[token_ids, choice], token_ids)
