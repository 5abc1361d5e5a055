"""A matcher, a loss and a tokenizer that register with tangka_match."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

import tangka_match


@tangka_match.register_matcher("example_matcher")
class ExampleMatcher(nn.Module):
    """Cosine of the projected mean region and the mean word vector.

    Args:
        vocab_size: Number of words in the vocabulary.
        feature_dim: Dimensions of a region feature.
        num_regions: Number of regions per image; not used.
        embed_dim: Dimensions of the joint space.
    """

    def __init__(self, *, vocab_size: int, feature_dim: int, num_regions: int, embed_dim: int = 32) -> None:
        super().__init__()
        self.project = nn.Linear(feature_dim, embed_dim)
        self.words = nn.Embedding(vocab_size, embed_dim)

    def encode_images(self, regions: Tensor, region_mask: Tensor) -> tangka_match.Encoded:
        """Encode images as L2-normalised vectors."""
        return tangka_match.Encoded(pooled=_mean(self.project(regions), region_mask))

    def encode_texts(self, token_ids: Tensor, token_mask: Tensor) -> tangka_match.Encoded:
        """Encode captions as L2-normalised vectors."""
        return tangka_match.Encoded(pooled=_mean(self.words(token_ids), token_mask))

    def similarity(self, images: tangka_match.Encoded, texts: tangka_match.Encoded) -> Tensor:
        """Return the cosine of every image with every caption."""
        return images.pooled @ texts.pooled.T


@tangka_match.register_loss("example_loss")
class ExampleLoss(tangka_match.InfoNCELoss):
    """InfoNCE with a fixed temperature.

    Args:
        temperature: Divisor of the scores.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__(temperature=temperature, learn_temperature=False)


@tangka_match.register_tokenizer("example_characters")
class CharacterTokenizer:
    """Splits captions into characters.

    Args:
        lower: Whether captions are made lower case first.
    """

    vocabulary = None
    max_tokens = None

    def __init__(self, lower: bool = True) -> None:
        self.lower = lower

    def __call__(self, text: str) -> list[str]:
        """Split a caption."""
        return list("".join((text.lower() if self.lower else text).split()))

    def settings(self) -> dict[str, Any]:
        """Return what a checkpoint stores."""
        return {"name": "example_characters", "lower": self.lower}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Build the tokenizer that a checkpoint stored."""
        return cls(lower=bool(settings["lower"]))


def _mean(vectors: Tensor, mask: Tensor) -> Tensor:
    total = vectors.masked_fill(~mask[..., None], 0).sum(dim=1)
    with torch.autocast(vectors.device.type, enabled=False):
        return normalize(total.float(), dim=1)
