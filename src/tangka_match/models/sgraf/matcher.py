"""SGRAF, the matcher of Diao et al. 2021, vectorised over images and captions."""

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
from tangka_match.types import Encoded, WordAttention

_PARTS = ("img_enc", "txt_enc", "sim_enc")


class SGRAF(nn.Module):
    """Similarity reasoning (SGR) or filtration (SAF) over similarity *vectors* of words and attended regions.

    Diao, Zhang, Ma, Lu: "Similarity Reasoning and Filtration for Image-Text Matching", AAAI 2021, arXiv 2101.01368.
    The defaults are the published ones; with 1,562 words and 2,048 features there are 16,033,475 (SGR) or 15,441,606
    (SAF) parameters. Published weights fit under the prefixes ``img_enc.``, ``txt_enc.`` and ``sim_enc.``. The
    published ensemble is the mean of the score matrices of one SGR and one SAF model.

    Two things go beyond the published network: regions that are masked take no part in anything, and a single image
    can be trained on (its pooled vector is then batch-normalised by running statistics).

    Two are choices: ``reasoning="both"`` trains both modules on one encoder, the score is their mean; and
    ``global_share`` puts a branch beside the reasoning that compares one vector an image with one a caption, pooled by
    the maximum of each dimension, which Chen et al., "Learning the Best Pooling Strategy for Visual Semantic
    Embedding" (VSE-infinity), arXiv 2011.04305, section 5.3, found nearly as good as their learnt pooling.

    Args:
        vocab_size: Words in the vocabulary, the four special tokens included.
        feature_dim: Dimensions of a region feature.
        num_regions: Most regions an image may have; batch norm keeps statistics of each slot.
        reasoning: ``"sgr"``, ``"saf"``, or ``"both"``.
        embed_dim: Dimensions of the joint space; units of the GRU in each direction.
        word_dim: Dimensions of a word vector.
        sim_dim: Dimensions of a similarity vector.
        num_layers: Layers of the GRU.
        bidirectional: Whether the GRU reads both ways; the directions are averaged.
        graph_steps: Steps of graph reasoning; has no effect with ``"saf"``.
        global_share: Share of the cosine of the pooled vectors in the score at the start of training, in [0, 1); it is
            learnt. 0 leaves the branch out, as published.
        dropout: Probability to drop a component of the word vectors and in the self-attention of both sides.
        normalise_images: Whether embedded regions are L2-normalised.
        normalise_texts: Whether embedded words are L2-normalised.

    Raises:
        ConfigError: A size is not positive, ``dropout`` or ``global_share`` is not in [0, 1), or ``reasoning`` is
            unknown.

    Example:
        >>> import torch
        >>> model = SGRAF(vocab_size=50, feature_dim=16, num_regions=3, embed_dim=8, word_dim=6, sim_dim=4).eval()
        >>> images = model.encode_images(torch.rand(2, 3, 16), torch.ones(2, 3, dtype=torch.bool))
        >>> texts = model.encode_texts(torch.randint(50, (5, 7)), torch.ones(5, 7, dtype=torch.bool))
        >>> model.similarity(images, texts).shape
        torch.Size([2, 5])
    """

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
        check_sizes(
            "SGRAF",
            {
                "vocab_size": vocab_size,
                "feature_dim": feature_dim,
                "num_regions": num_regions,
                "embed_dim": embed_dim,
                "word_dim": word_dim,
                "sim_dim": sim_dim,
                "num_layers": num_layers,
                "graph_steps": graph_steps,
            },
        )
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
        """Embed the regions of images, and pool them.

        Returns:
            ``tokens``, one vector a region (L2-normalised with ``normalise_images``); ``pooled``, the L2-normalised
            vector of the image's self-attention.

        Raises:
            ShapeError: The features have other dimensions, or there are more regions than the model was built for.
        """
        check_regions("SGRAF", regions, self.feature_dim)
        tokens = self.img_enc(regions, region_mask)
        return Encoded(pooled=self.sim_enc.v_global_w(tokens, region_mask), tokens=tokens, mask=region_mask)

    def encode_texts(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Encoded:
        """Embed the words of captions, and pool them.

        Returns:
            ``tokens``, one vector a word (L2-normalised with ``normalise_texts``); ``pooled``, the L2-normalised
            vector of the caption's self-attention.

        Raises:
            ShapeError: A caption has no real token.
        """
        tokens = self.txt_enc(token_ids, token_mask)
        return Encoded(pooled=self.sim_enc.t_global_w(tokens, token_mask), tokens=tokens, mask=token_mask)

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Score every image against every caption; higher = closer.

        In (0, 1); with a global branch in [-1, 1].
        """
        local = self.sim_enc(images, texts)
        if self.global_logit is None:
            return local
        share = self.global_logit.sigmoid()
        overall = dot_products(_largest(images), _largest(texts))
        return (1 - share) * local + share * overall

    def word_attention(self, images: Encoded, texts: Encoded) -> WordAttention:
        """Weights of the attention behind the local similarities (SGRAF, section 3.2)."""
        assert images.tokens is not None and images.mask is not None
        assert texts.tokens is not None and texts.mask is not None
        weights = images.tokens.new_zeros(len(images), *texts.mask.shape, images.mask.shape[1])
        groups = group_by_length(texts.mask)
        for columns, length in zip(groups.columns, groups.lengths, strict=True):
            words = real_words(texts.tokens, texts.mask, columns, length)
            attention = word_region_attention(words, images.tokens, images.mask)
            weights[:, columns, :length] = attention.permute(0, 2, 3, 1)
        return WordAttention(
            weights, "SGRAF's attention from words to regions, which every local similarity is made of"
        )

    def load_published_state(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Load the weights of a published checkpoint, its ``"model"`` entry.

        Args:
            states: The state dicts of the image encoder, the text encoder and the similarity encoder, in this order.

        Raises:
            CheckpointError: There are not three dicts, or they belong to a network of another shape.
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


def _largest(encoded: Encoded) -> Float[Tensor, "N D"]:
    """One L2-normalised vector an item: the largest value of each dimension over its regions or words."""
    assert encoded.tokens is not None and encoded.mask is not None
    return l2_normalise(masked_max(at_least_float32(encoded.tokens), encoded.mask))
