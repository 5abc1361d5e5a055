"""SGRAF matcher (Diao et al. 2021), vectorised over images and captions."""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.errors import CheckpointError, ConfigError
from tangka_match.models.layers import check_choice, check_dropout, check_regions, check_sizes
from tangka_match.models.region_encoders import RegionProjection
from tangka_match.models.sgraf.similarity import SimilarityEncoder
from tangka_match.models.text_encoders import TextGRU
from tangka_match.ops import (
    at_least_float32,
    dot_products,
    group_by_length,
    l2_normalise,
    masked_max,
    real_words,
    word_region_attention,
)
from tangka_match.types import Encoded, Lengths, WordAttention

_PARTS = ("img_enc", "txt_enc", "sim_enc")


class SGRAF(nn.Module):
    """Similarity graph reasoning (SGR) or attention filtration (SAF) over word and image similarity vectors.

    Diao, Zhang, Ma, Lu: "Similarity Reasoning and Filtration for Image-Text Matching", AAAI 2021, arXiv 2101.01368.
    The defaults are the published ones; with 1,562 words and 2,048 features there are 16,033,475 (SGR) or 15,441,606
    (SAF) parameters. Published weights load under the prefixes ``img_enc.``, ``txt_enc.`` and ``sim_enc.``. The
    published ensemble averages the score matrices of one SGR and one SAF model.

    Differences from the published network: masked regions have no influence, and batches of one image can be trained
    on. Two options are additions: ``reasoning="both"`` trains both modules on one encoder and averages their scores;
    ``global_share`` adds the cosine of max-pooled image and caption vectors, a pooling that Chen et al. (VSE∞), arXiv
    2011.04305, section 5.3, found nearly as good as a learnt one.

    Args:
        vocab_size: Number of words in the vocabulary, including the four special tokens.
        feature_dim: Dimensions of a region feature.
        num_regions: Maximum number of regions per image; batch norm keeps statistics for each region slot.
        reasoning: ``"sgr"``, ``"saf"``, or ``"both"``.
        embed_dim: Dimensions of the joint space; units of the GRU in each direction.
        word_dim: Dimensions of a word vector.
        sim_dim: Dimensions of a similarity vector.
        num_layers: Number of GRU layers.
        bidirectional: Whether the GRU is bidirectional; directions are averaged.
        graph_steps: Number of graph reasoning steps; not used by ``"saf"``.
        global_share: Initial share of the global cosine in the score, in [0, 1); learnt. 0 = no global branch, as
            published.
        dropout: Dropout probability of word vectors and self-attention.
        normalise_images: Whether to L2-normalise embedded regions.
        normalise_texts: Whether to L2-normalise embedded words.

    Raises:
        ConfigError: If a size is below 1, ``dropout`` or ``global_share`` is not in [0, 1), or ``reasoning`` is
            unknown.

    Example:
        >>> import torch
        >>> model = SGRAF(vocab_size=50, feature_dim=16, num_regions=3, embed_dim=8, word_dim=6, sim_dim=4).eval()
        >>> images = model.encode_images(torch.rand(2, 3, 16), torch.ones(2, 3, dtype=torch.bool))
        >>> texts = model.encode_texts(torch.randint(50, (5, 7)), torch.ones(5, 7, dtype=torch.bool))
        >>> model.similarity(images, texts).shape
        torch.Size([2, 5])
    """

    pooled_is_auxiliary = True
    reads_lengths = True

    @check_sizes
    def __init__(
        self,
        *,
        vocab_size: int,
        feature_dim: int,
        num_regions: int = 36,
        reasoning: str = "sgr",
        embed_dim: int = 1024,
        word_dim: int = 300,
        sim_dim: int = 256,
        num_layers: int = 1,
        bidirectional: bool = True,
        graph_steps: int = 3,
        global_share: float | int = 0.0,
        dropout: float | int = 0.4,
        normalise_images: bool = True,
        normalise_texts: bool = True,
    ) -> None:
        super().__init__()
        check_choice("SGRAF", "reasoning", reasoning, ("sgr", "saf", "both"))
        if not 0 <= global_share < 1:
            raise ConfigError(f"SGRAF: global_share is {global_share!r}; it must be at least 0 and below 1")
        check_dropout("SGRAF", dropout)
        self.feature_dim = feature_dim
        self.img_enc = RegionProjection(feature_dim, embed_dim, normalise_images)
        self.txt_enc = TextGRU(
            vocab_size=vocab_size,
            word_dim=word_dim,
            embed_dim=embed_dim,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            normalise=normalise_texts,
        )
        self.sim_enc = SimilarityEncoder(
            embed_dim=embed_dim,
            num_regions=num_regions,
            sim_dim=sim_dim,
            reasoning=reasoning,
            graph_steps=graph_steps,
            dropout=dropout,
        )
        logit = torch.tensor(math.log(global_share / (1 - global_share))) if global_share else None
        self.global_logit = None if logit is None else nn.Parameter(logit)

    def encode_images(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Encoded:
        """Encode images.

        Returns:
            ``tokens``: region embeddings, L2-normalised if ``normalise_images``. ``pooled``: their self-attention
            pooling, L2-normalised.

        Raises:
            ShapeError: If the features do not have ``feature_dim`` dimensions, or there are more than ``num_regions``.
        """
        check_regions("SGRAF", regions, self.feature_dim)
        tokens = self.img_enc(regions, region_mask)
        return Encoded(pooled=self.sim_enc.v_global_w(tokens, region_mask), tokens=tokens, mask=region_mask)

    def encode_texts(
        self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"], lengths: Lengths | None = None
    ) -> Encoded:
        """Encode captions.

        Returns:
            ``tokens``: word embeddings, L2-normalised if ``normalise_texts``. ``pooled``: their self-attention pooling,
            L2-normalised.

        Raises:
            ShapeError: If a caption has no real token.
        """
        tokens = self.txt_enc(token_ids, token_mask, lengths)
        pooled = self.sim_enc.t_global_w(tokens, token_mask)
        return Encoded(pooled=pooled, tokens=tokens, mask=token_mask, lengths=lengths)

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Score every image against every caption, (I, C), in (0, 1); with a global branch in [-1, 1]."""
        local = self.sim_enc(images, texts)
        if self.global_logit is None:
            return local
        share = self.global_logit.sigmoid()
        overall = dot_products(_max_pool(images), _max_pool(texts))
        return (1 - share) * local + share * overall

    def word_attention(self, images: Encoded, texts: Encoded) -> WordAttention:
        """Return the word-to-region attention weights of the local similarities (SGRAF, section 3.2)."""
        assert images.tokens is not None and images.mask is not None
        assert texts.tokens is not None and texts.mask is not None
        weights = images.tokens.new_zeros(len(images), *texts.mask.shape, images.mask.shape[1])
        groups = group_by_length(texts.mask)
        for columns, words in zip(groups.columns, real_words(texts.tokens, texts.mask, groups), strict=True):
            attention = word_region_attention(words, images.tokens, images.mask)
            weights[:, columns, : words.shape[1]] = attention.permute(0, 2, 3, 1)
        return WordAttention(weights, "word-to-region attention of SGRAF, on which all local similarities are based")

    def load_published_state(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Load the ``"model"`` entry of a published checkpoint.

        Args:
            states: State dicts of the image encoder, the text encoder and the similarity encoder, in this order.

        Raises:
            CheckpointError: If there are not three dicts, or their keys or shapes do not fit.
        """
        if len(states) != len(_PARTS):
            raise CheckpointError(f"a published SGRAF checkpoint holds 3 state dicts {_PARTS}, this one {len(states)}")
        merged = {
            f"{part}.{key}": value for part, state in zip(_PARTS, states, strict=True) for key, value in state.items()
        }
        try:
            self.load_state_dict(merged)
        except RuntimeError as error:
            raise CheckpointError(f"these published weights do not fit this SGRAF: {error}") from error


def _max_pool(encoded: Encoded) -> Float[Tensor, "N D"]:
    """Max-pool regions or words, and L2-normalise."""
    assert encoded.tokens is not None and encoded.mask is not None
    return l2_normalise(masked_max(at_least_float32(encoded.tokens), encoded.mask))
