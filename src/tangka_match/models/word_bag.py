"""A caption as a bag of weighted words, characters and neighbouring characters."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.ops import at_least_float32
from tangka_match.words import LONGEST_WORD, characters_of, is_special

_MIN_CAPTIONS = 2
"""Training captions that a feature must occur in: what occurs once cannot be told from chance."""


class WordBag(nn.Module):
    """Words, their characters and pairs of neighbouring characters, weighted by inverse document frequency.

    Feature ``w`` is word ``w``; feature ``vocab_size + h`` are all characters and pairs of neighbours whose hash is
    ``h`` (Weinberger et al., "Feature Hashing", arXiv 0902.2206), so that the size of the model is known before the
    captions are. Characters let words share what they mean: 白度母 and 绿度母 have two thirds in common, and a caption
    that is cut differently stays nearly the same. They are those of the known words; an unknown word has none. Features
    of fewer than two training captions, and the special tokens, weigh nothing.

    Args:
        vocab_size: Words in the vocabulary.
        num_hashes: Hash values for characters and pairs.
    """

    weight: Tensor
    characters: Tensor

    def __init__(self, vocab_size: int, num_hashes: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.num_hashes = num_hashes
        self.register_buffer("weight", torch.ones(vocab_size + num_hashes))
        self.register_buffer("characters", torch.zeros(vocab_size, LONGEST_WORD, dtype=torch.int64))

    def forward(
        self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]
    ) -> tuple[Int[Tensor, "C P"], Float[Tensor, "C P"]]:
        """Numbers and weights of the features; the weights of a caption have length one, padding weighs zero.

        A feature that comes twice counts twice. A caption of unknown words only has no weight at all.
        """
        features, present = self.features(token_ids, token_mask)
        weights = self.weight[features] * present
        norms = torch.linalg.vector_norm(at_least_float32(weights), dim=1, keepdim=True)
        return features, weights / norms.clamp(min=1e-6)

    def features(
        self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]
    ) -> tuple[Int[Tensor, "C P"], Bool[Tensor, "C P"]]:
        """Numbers of all features of a caption, words first, then characters, then pairs; and which ones are real."""
        codes = self.characters[token_ids].masked_fill(~token_mask[:, :, None], 0).flatten(1)
        # Close the gaps, so that the last character of a word is a neighbour of the next word's first.
        codes = codes.gather(1, (codes == 0).to(torch.uint8).sort(dim=1, stable=True).indices)
        codes = codes[:, : int((codes > 0).sum(dim=1).max())]
        pairs = codes[:, :-1] * 65_537 + codes[:, 1:] + 1_114_112  # above all single characters
        hashed = torch.cat([codes, pairs], dim=1) * 1_000_003 % 2_147_483_647 % self.num_hashes
        real = torch.cat([token_mask, codes > 0, codes[:, 1:] > 0], dim=1)
        return torch.cat([token_ids, self.vocab_size + hashed], dim=1), real

    @torch.no_grad()
    def fit(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"], words: Sequence[str]) -> Tensor:
        """Set characters and weights; returns the training captions as a sparse matrix (C, features).

        Args:
            token_ids: Of the training captions.
            token_mask: ``True`` = real.
            words: The vocabulary in the order of its ids; words in angle brackets are special tokens.
        """
        for row, word in enumerate(words):
            codes = [ord(character) for character in characters_of(word)]
            self.characters[row] = torch.tensor(codes + [0] * (LONGEST_WORD - len(codes)))
        features, present = self.features(token_ids, token_mask)
        rows = torch.arange(len(features))[:, None].expand_as(features)
        once = torch.stack([rows[present], features[present]]).unique(dim=1)
        counts = torch.bincount(once[1], minlength=len(self.weight))
        idf = math.log(len(features)) - counts.clamp(min=1).log()
        special = torch.tensor([is_special(word) for word in words])
        idf[: len(words)].masked_fill_(special, 0.0)
        self.weight.copy_(idf.masked_fill(counts < _MIN_CAPTIONS, 0.0))
        features, weights = self(token_ids, token_mask)
        index = torch.stack([rows.flatten(), features.flatten()])
        size = (len(features), len(self.weight))
        return torch.sparse_coo_tensor(index, weights.flatten(), size, check_invariants=True).coalesce()
