"""SCAN, the matcher of Lee et al. 2018: words that look at regions, or regions that look at words."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.models.layers import check_choice, check_dropout, check_regions, check_sizes
from tangka_match.models.region_encoders import RegionProjection
from tangka_match.models.text_encoders import TextGRU
from tangka_match.ops import stacked_cross_attention
from tangka_match.types import Encoded


class SCAN(nn.Module):
    r"""Stacked cross attention, in either direction.

    Lee, Chen, Hua, Hu, He: "Stacked Cross Attention for Image-Text Matching", ECCV 2018, arXiv 1803.08024. With
    ``"t2i"`` every word looks at the regions and is compared with what it sees; with ``"i2t"`` every region looks at
    the words. The relevances :math:`R` are pooled to a score by their mean (equation 6) or by
    :math:`\frac{1}{\lambda_2} \log \sum \exp(\lambda_2 R)` (equation 5). The published ensemble is the mean of the
    score matrices of one model of each direction. Regions that are masked take no part.

    Args:
        vocab_size: Words in the vocabulary, the four special tokens included.
        feature_dim: Dimensions of a region feature.
        num_regions: Regions of an image in the data; any number works.
        direction: ``"t2i"`` or ``"i2t"``.
        smooth: Sharpness of the attention, the paper's lambda 1: 9 for ``"t2i"``, 4 for ``"i2t"``.
        aggregation: ``"mean"`` or ``"log_sum_exp"``.
        log_sum_exp_scale: The paper's lambda 2, above 0; has no effect with ``"mean"``.
        embed_dim: Dimensions of the joint space; units of the GRU in each direction.
        word_dim: Dimensions of a word vector.
        num_layers: Layers of the GRU.
        dropout: Probability to drop a component of a word vector; 0 as published.

    Raises:
        ConfigError: A size is not positive, a setting is out of range, or a word is none of the allowed ones.

    Example:
        >>> model = SCAN(vocab_size=50, feature_dim=16, direction="t2i", smooth=9, embed_dim=8, word_dim=6).eval()
        >>> images = model.encode_images(torch.rand(2, 3, 16), torch.ones(2, 3, dtype=torch.bool))
        >>> texts = model.encode_texts(torch.randint(50, (5, 7)), torch.ones(5, 7, dtype=torch.bool))
        >>> model.similarity(images, texts).shape
        torch.Size([2, 5])
    """

    tokens_only = True

    def __init__(
        self,
        *,
        vocab_size: int,
        feature_dim: int,
        num_regions: int = 36,
        direction: str,
        smooth: float | int,
        aggregation: str = "mean",
        log_sum_exp_scale: float | int = 6.0,
        embed_dim: int = 1024,
        word_dim: int = 300,
        num_layers: int = 1,
        dropout: float | int = 0.0,
    ) -> None:
        super().__init__()
        check_choice("SCAN", "direction", direction, ("t2i", "i2t"))
        check_choice("SCAN", "aggregation", aggregation, ("mean", "log_sum_exp"))
        for name, value in (("smooth", smooth), ("log_sum_exp_scale", log_sum_exp_scale)):
            if not value > 0:
                raise ConfigError(f"SCAN: {name} is {value!r}; it must be above 0")
        check_sizes(
            "SCAN",
            {
                "vocab_size": vocab_size,
                "feature_dim": feature_dim,
                "num_regions": num_regions,
                "embed_dim": embed_dim,
                "word_dim": word_dim,
                "num_layers": num_layers,
            },
        )
        check_dropout("SCAN", dropout)
        self.feature_dim = feature_dim
        self.direction = direction
        self.smooth = float(smooth)
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
        """Embed the regions of images: ``tokens``, one L2-normalised vector a region.

        Raises:
            ShapeError: The features have other dimensions than the model was built for.
        """
        check_regions("SCAN", regions, self.feature_dim)
        return Encoded(tokens=self.img_enc(regions, region_mask), mask=region_mask)

    def encode_texts(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Encoded:
        """Embed the words of captions: ``tokens``, one L2-normalised vector a word.

        Raises:
            ShapeError: A caption has no real token.
        """
        return Encoded(tokens=self.txt_enc(token_ids, token_mask), mask=token_mask)

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Score every image against every caption; higher = closer.

        In [-1, 1] up to rounding with ``"mean"``; with ``"log_sum_exp"`` up to log(words or regions) / lambda 2 more.
        """
        if self.direction == "t2i":
            return self._score(texts, images)
        return self._score(images, texts).T

    def _score(self, asking: Encoded, seen: Encoded) -> Float[Tensor, "M N"]:
        """Score N items whose parts look at those of M others."""
        assert asking.tokens is not None and asking.mask is not None
        assert seen.tokens is not None and seen.mask is not None
        relevance = stacked_cross_attention(asking.tokens, asking.mask, seen.tokens, seen.mask, self.smooth)
        if self.log_sum_exp_scale is None:
            return relevance.masked_fill(~asking.mask, 0).sum(dim=2) / asking.mask.sum(dim=1).clamp(min=1)
        lowest = torch.finfo(relevance.dtype).min
        scaled = (self.log_sum_exp_scale * relevance).masked_fill(~asking.mask, lowest).logsumexp(dim=2)
        return scaled.masked_fill(~asking.mask.any(dim=1), 0) / self.log_sum_exp_scale
