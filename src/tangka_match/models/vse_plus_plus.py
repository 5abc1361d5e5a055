"""VSE++ matcher (Faghri et al. 2018): a linear layer on images, the last state of a GRU for captions."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.models.layers import check_dropout, check_regions, check_sizes
from tangka_match.models.region_encoders import RegionProjection
from tangka_match.models.text_encoders import TextGRU
from tangka_match.ops import at_least_float32, dot_products, l2_normalise, masked_mean
from tangka_match.types import Encoded, Lengths


class VSEPlusPlus(nn.Module):
    """Cosine of a projected image vector and the last state of a GRU over the words.

    Faghri, Fleet, Kiros, Fidler: "VSE++: Improving Visual-Semantic Embeddings with Hard Negatives", arXiv 1707.05612,
    on precomputed features. The published code has one vector per image; several regions are averaged.

    Args:
        vocab_size: Number of words in the vocabulary, including the four special tokens.
        feature_dim: Dimensions of a region feature.
        num_regions: Number of regions per image; any number works.
        embed_dim: Dimensions of the joint space; units of the GRU.
        word_dim: Dimensions of a word vector.
        num_layers: Number of GRU layers.
        dropout: Dropout probability of the word vectors; 0 as published.

    Raises:
        ConfigError: If a size is below 1, or ``dropout`` is out of range.

    Example:
        >>> model = VSEPlusPlus(vocab_size=50, feature_dim=16, embed_dim=8, word_dim=6).eval()
        >>> images = model.encode_images(torch.rand(2, 1, 16), torch.ones(2, 1, dtype=torch.bool))
        >>> texts = model.encode_texts(torch.randint(50, (5, 7)), torch.ones(5, 7, dtype=torch.bool))
        >>> model.similarity(images, texts).shape
        torch.Size([2, 5])
    """

    reads_lengths = True

    @check_sizes
    def __init__(
        self,
        *,
        vocab_size: int,
        feature_dim: int,
        num_regions: int = 1,
        embed_dim: int = 1024,
        word_dim: int = 300,
        num_layers: int = 1,
        dropout: float | int = 0.0,
    ) -> None:
        super().__init__()
        check_dropout("VSEPlusPlus", dropout)
        self.feature_dim = feature_dim
        self.img_enc = RegionProjection(feature_dim, embed_dim, normalise=False)
        self.txt_enc = TextGRU(
            vocab_size=vocab_size,
            word_dim=word_dim,
            embed_dim=embed_dim,
            num_layers=num_layers,
            bidirectional=False,
            dropout=dropout,
            normalise=False,
        )

    def encode_images(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Encoded:
        """Encode images as L2-normalised vectors, ``pooled``.

        Raises:
            ShapeError: If the features do not have ``feature_dim`` dimensions.
        """
        check_regions("VSEPlusPlus", regions, self.feature_dim)
        pooled = masked_mean(self.img_enc(regions, region_mask), region_mask)
        return Encoded(pooled=l2_normalise(at_least_float32(pooled)))

    def encode_texts(
        self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"], lengths: Lengths | None = None
    ) -> Encoded:
        """Encode captions as L2-normalised vectors, ``pooled``: the state of the GRU after the last real token.

        Raises:
            ShapeError: If a caption has no real token.
        """
        states = self.txt_enc(token_ids, token_mask, lengths)
        last = token_mask.sum(dim=1) - 1
        pooled = states[torch.arange(states.shape[0], device=states.device), last]
        return Encoded(pooled=l2_normalise(at_least_float32(pooled)))

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Return the cosine of every image with every caption, (I, C)."""
        assert images.pooled is not None and texts.pooled is not None
        return dot_products(images.pooled, texts.pooled)
