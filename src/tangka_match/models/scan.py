"""SCAN matcher (Lee et al. 2018): word-to-region or region-to-word attention."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.models.layers import check_choice, check_dropout, check_regions, check_sizes
from tangka_match.models.region_encoders import RegionProjection
from tangka_match.models.text_encoders import TextGRU
from tangka_match.ops import stacked_cross_attention
from tangka_match.types import Encoded, Lengths

_NEGATIVE_SLOPES = {"relu": 0.0, "leaky_relu": 0.1}


class SCAN(nn.Module):
    r"""Stacked cross attention, in either direction.

    Lee, Chen, Hua, Hu, He: "Stacked Cross Attention for Image-Text Matching", ECCV 2018, arXiv 1803.08024. With
    ``"t2i"`` each word attends to the regions and is compared with its context; with ``"i2t"`` each region attends to
    the words. The relevances :math:`R` are pooled to a score by their mean (equation 6) or by
    :math:`\frac{1}{\lambda_2} \log \sum \exp(\lambda_2 R)` (equation 5). The published ensemble averages the score
    matrices of one model per direction.

    Args:
        vocab_size: Number of words in the vocabulary, including the four special tokens.
        feature_dim: Dimensions of a region feature.
        num_regions: Number of regions per image; any number works.
        direction: ``"t2i"`` (words attend to regions) or ``"i2t"`` (regions attend to words).
        smooth: Factor of the cosines before the softmax, lambda 1 of the paper: 9 for ``"t2i"``, 4 for ``"i2t"``.
        clip: How negative cosines enter the attention: ``"relu"`` sets them to zero (equation 1), ``"leaky_relu"``
            multiplies them by 0.1, as the published code does (``clipped_l2norm``).
        aggregation: ``"mean"`` or ``"log_sum_exp"``.
        log_sum_exp_scale: Lambda 2 of the paper, above 0; not used by ``"mean"``.
        embed_dim: Dimensions of the joint space; units of the GRU in each direction.
        word_dim: Dimensions of a word vector.
        num_layers: Number of GRU layers.
        dropout: Dropout probability of the word vectors; 0 as published.

    Raises:
        ConfigError: If a size is below 1, or another setting is not allowed.

    Example:
        >>> model = SCAN(vocab_size=50, feature_dim=16, direction="t2i", smooth=9, embed_dim=8, word_dim=6).eval()
        >>> images = model.encode_images(torch.rand(2, 3, 16), torch.ones(2, 3, dtype=torch.bool))
        >>> texts = model.encode_texts(torch.randint(50, (5, 7)), torch.ones(5, 7, dtype=torch.bool))
        >>> model.similarity(images, texts).shape
        torch.Size([2, 5])
    """

    tokens_only = True
    reads_lengths = True

    @check_sizes
    def __init__(
        self,
        *,
        vocab_size: int,
        feature_dim: int,
        num_regions: int = 36,
        direction: str,
        smooth: float | int,
        clip: str = "relu",
        aggregation: str = "mean",
        log_sum_exp_scale: float | int = 6.0,
        embed_dim: int = 1024,
        word_dim: int = 300,
        num_layers: int = 1,
        dropout: float | int = 0.0,
    ) -> None:
        super().__init__()
        check_choice("SCAN", "direction", direction, ("t2i", "i2t"))
        check_choice("SCAN", "clip", clip, tuple(_NEGATIVE_SLOPES))
        check_choice("SCAN", "aggregation", aggregation, ("mean", "log_sum_exp"))
        for name, value in (("smooth", smooth), ("log_sum_exp_scale", log_sum_exp_scale)):
            if not value > 0:
                raise ConfigError(f"SCAN: {name} is {value!r}; it must be above 0")
        check_dropout("SCAN", dropout)
        self.feature_dim = feature_dim
        self.direction = direction
        self.smooth = float(smooth)
        self.negative_slope = _NEGATIVE_SLOPES[clip]
        self.log_sum_exp_scale = float(log_sum_exp_scale) if aggregation == "log_sum_exp" else None
        self.img_enc = RegionProjection(feature_dim, embed_dim, normalise=True)
        self.txt_enc = TextGRU(
            vocab_size=vocab_size,
            word_dim=word_dim,
            embed_dim=embed_dim,
            num_layers=num_layers,
            bidirectional=True,
            dropout=dropout,
            normalise=True,
        )

    def encode_images(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Encoded:
        """Encode images as ``tokens``, one L2-normalised vector per region.

        Raises:
            ShapeError: If the features do not have ``feature_dim`` dimensions.
        """
        check_regions("SCAN", regions, self.feature_dim)
        return Encoded(tokens=self.img_enc(regions, region_mask), mask=region_mask)

    def encode_texts(
        self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"], lengths: Lengths | None = None
    ) -> Encoded:
        """Encode captions as ``tokens``, one L2-normalised vector per word.

        Raises:
            ShapeError: If a caption has no real token.
        """
        return Encoded(tokens=self.txt_enc(token_ids, token_mask, lengths), mask=token_mask)

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Score every image against every caption, (I, C).

        Scores are in [-1, 1] with ``"mean"``; ``"log_sum_exp"`` adds up to log(words or regions) / lambda 2.
        """
        if self.direction == "t2i":
            return self._score(texts, images)
        return self._score(images, texts).T

    def _score(self, queries: Encoded, context: Encoded) -> Float[Tensor, "M N"]:
        """Score N items whose parts attend to those of M others."""
        assert queries.tokens is not None and queries.mask is not None
        assert context.tokens is not None and context.mask is not None
        relevance = stacked_cross_attention(
            queries.tokens,
            queries.mask,
            context.tokens,
            context.mask,
            self.smooth,
            negative_slope=self.negative_slope,
        )
        if self.log_sum_exp_scale is None:
            return relevance.masked_fill(~queries.mask, 0).sum(dim=2) / queries.mask.sum(dim=1).clamp(min=1)
        lowest = torch.finfo(relevance.dtype).min
        scaled = (self.log_sum_exp_scale * relevance).masked_fill(~queries.mask, lowest).logsumexp(dim=2)
        return scaled.masked_fill(~queries.mask.any(dim=1), 0) / self.log_sum_exp_scale
