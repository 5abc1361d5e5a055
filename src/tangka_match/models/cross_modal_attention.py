"""One layer of attention from words to regions, for every pair of an image and a caption."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.ops import attended_cosine, l2_normalise, masked_softmax, unpack_words


class CrossModalAttention(nn.Module):
    """How well each word agrees with what it attends to in an image, averaged over the words.

    Everything that depends on one item alone is projected once an item; the pairs are left with dot products between
    words and regions (see ``ops.attended_cosine``).

    Args:
        region_dim: Dimensions of a region's vector.
        word_dim: Dimensions of a word's vector.
        attention_dim: Dimensions of queries, keys and values.
        smooth: Factor of the dot products of unit vectors before the softmax; higher = sharper.
    """

    def __init__(self, region_dim: int, word_dim: int, attention_dim: int, smooth: float | int) -> None:
        super().__init__()
        self.region_projection = nn.Linear(region_dim, 2 * attention_dim)
        self.word_projection = nn.Linear(word_dim, 2 * attention_dim)
        self.smooth = float(smooth)

    def project_regions(self, regions: Float[Tensor, "I R P"]) -> Float[Tensor, "I R A2"]:
        """Key and value of every region, unit vectors one after the other: ``A2`` = 2 x ``attention_dim``."""
        return _unit_halves(self.region_projection(regions))

    def project_words(self, words: Float[Tensor, "C T P"]) -> Float[Tensor, "C T A2"]:
        """Query and value of every word, unit vectors one after the other: ``A2`` = 2 x ``attention_dim``."""
        return _unit_halves(self.word_projection(words))

    def forward(
        self,
        regions: Float[Tensor, "I R A2"],
        region_mask: Bool[Tensor, "I R"],
        words: Float[Tensor, "C T A2"],
        token_mask: Bool[Tensor, "C T"],
    ) -> Float[Tensor, "I C"]:
        """Mean cosine, over the real words, between a word and its view of the image; in [-1, 1] up to rounding.

        Args:
            regions: What ``project_regions`` returned.
            region_mask: ``True`` where a region is real.
            words: What ``project_words`` returned.
            token_mask: ``True`` where a word is real.
        """
        keys, region_values = regions.chunk(2, dim=2)
        queries, word_values = words[token_mask].chunk(2, dim=1)
        cosines = attended_cosine(queries, word_values, keys, region_values, region_mask, smooth=self.smooth)
        return unpack_words(cosines, token_mask).sum(dim=2) / token_mask.sum(dim=1)

    def weights(
        self,
        regions: Float[Tensor, "I R A2"],
        region_mask: Bool[Tensor, "I R"],
        words: Float[Tensor, "C T A2"],
    ) -> Float[Tensor, "I C T R"]:
        """How much every word looks at every region: what ``forward`` weighs values with, for people to see.

        Args:
            regions: What ``project_regions`` returned.
            region_mask: ``True`` where a region is real.
            words: What ``project_words`` returned.
        """
        keys, queries = regions.chunk(2, dim=2)[0], words.chunk(2, dim=2)[0]
        affinity = torch.einsum("ira,cta->ictr", keys, queries)
        return masked_softmax(self.smooth * affinity, region_mask[:, None, None, :])


def _unit_halves(x: Float[Tensor, "N L A2"]) -> Float[Tensor, "N L A2"]:
    return torch.cat([l2_normalise(half) for half in x.chunk(2, dim=2)], dim=2)
