"""Minimal matchers: one with pooled vectors, one with sequences, and one with words that are frozen at first."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tangka_match.types import Encoded


class PooledMatcher(nn.Module):
    """Mean of the real entries, with dropout; scores are cosines."""

    def __init__(self, feature_dim: int = 5, dim: int = 4, vocabulary: int = 30) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.project = nn.Parameter(torch.randn(feature_dim, dim, generator=generator))
        self.words = nn.Parameter(torch.randn(vocabulary, dim, generator=generator))
        self.dropout = nn.Dropout(0.5)

    def encode_images(self, regions: Tensor, region_mask: Tensor) -> Encoded:
        return Encoded(pooled=self._mean(regions @ self.project, region_mask))

    def encode_texts(self, token_ids: Tensor, token_mask: Tensor) -> Encoded:
        return Encoded(pooled=self._mean(self.words[token_ids], token_mask))

    def similarity(self, images: Encoded, texts: Encoded) -> Tensor:
        return images.pooled @ texts.pooled.T

    def _mean(self, vectors: Tensor, mask: Tensor) -> Tensor:
        mean = (self.dropout(vectors) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return normalize(mean, dim=-1)


class MaxMeanMatcher(PooledMatcher):
    """Vectors of regions and words; a score is the mean over words of the maximum dot product with a region."""

    def encode_images(self, regions: Tensor, region_mask: Tensor) -> Encoded:
        return Encoded(tokens=self.dropout(regions @ self.project), mask=region_mask)

    def encode_texts(self, token_ids: Tensor, token_mask: Tensor) -> Encoded:
        return Encoded(tokens=self.dropout(self.words[token_ids]), mask=token_mask)

    def similarity(self, images: Encoded, texts: Encoded) -> Tensor:
        dots = torch.einsum("ird,ctd->ictr", images.tokens, texts.tokens)
        best = dots.masked_fill(~images.mask[:, None, None, :], float("-inf")).amax(-1)
        return (best * texts.mask).sum(-1) / texts.mask.sum(-1)


class ThawingMatcher(PooledMatcher):
    """`PooledMatcher` with words that are frozen for half of a run, then trained at half the learning rate."""

    frozen = True

    def encode_texts(self, token_ids: Tensor, token_mask: Tensor) -> Encoded:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return super().encode_texts(token_ids, token_mask)

    def lr_multipliers(self) -> dict[str, float]:
        return {"words": 0.5}

    def set_progress(self, progress: float) -> None:
        self.frozen = progress < 0.5

    def checkpoint_arguments(self) -> dict[str, Any]:
        return {}
