"""The half of SGRAF that compares images with captions."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from tangka_match.models.initialisation import xavier_linears_
from tangka_match.models.similarity_attention import SimilarityAttentionFiltration
from tangka_match.models.similarity_graph import FoldedQuery, SimilarityGraphStep, reason_over_graph
from tangka_match.models.text_self_attention import TextSelfAttention
from tangka_match.models.visual_self_attention import VisualSelfAttention
from tangka_match.ops import (
    LengthGroups,
    at_least_float32,
    autocast_dtype,
    group_by_length,
    l2_normalise,
    project_squared_difference,
    real_words,
    unit_context_weights,
    word_region_attention,
)
from tangka_match.types import Encoded

IMAGES_AT_ONCE, CAPTIONS_AT_ONCE = 16, 64
"""Pairs that are scored together where no batch norm looks at a whole batch."""


class SimilarityEncoder(nn.Module):
    """Similarity vectors of every image and caption, their reasoning, and the score (SGRAF, section 3.2 and 3.3).

    The attributes are named as in the published weights.

    Args:
        embed_dim: Dimensions of the joint space.
        num_regions: Most regions an image may have.
        sim_dim: Dimensions of a similarity vector.
        reasoning: ``"sgr"`` (graph reasoning) or ``"saf"`` (attention filtration).
        graph_steps: Steps of graph reasoning; only for ``"sgr"``.
        dropout: Probability to drop a component in the self-attention of both sides.
    """

    def __init__(
        self, *, embed_dim: int, num_regions: int, sim_dim: int, reasoning: str, graph_steps: int, dropout: float | int
    ) -> None:
        super().__init__()
        self.v_global_w = VisualSelfAttention(embed_dim, num_regions, dropout)
        self.t_global_w = TextSelfAttention(embed_dim, dropout)
        self.sim_tranloc_w = nn.Linear(embed_dim, sim_dim)
        self.sim_tranglo_w = nn.Linear(embed_dim, sim_dim)
        self.sim_eval_w = nn.Linear(sim_dim, 1)
        self.reasoning = reasoning
        if reasoning == "sgr":
            self.SGR_module = nn.ModuleList(SimilarityGraphStep(sim_dim) for _ in range(graph_steps))
        else:
            self.SAF_module = SimilarityAttentionFiltration(sim_dim)
        xavier_linears_(self)

    def forward(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Score every image against every caption, in (0, 1); both come with pooled vectors and sequences."""
        assert texts.mask is not None
        groups = group_by_length(texts.mask, None if self.training else CAPTIONS_AT_ONCE)
        captions = [_Captions.choose(texts, *group) for group in zip(groups.columns, groups.lengths, strict=True)]
        folded = [step.folded_query() for step in self.SGR_module] if self.reasoning == "sgr" else []
        # Batch norm wants all images of a training batch at once; answers are quicker from what stays in cache.
        step = len(images) if self.training else IMAGES_AT_ONCE
        rows = [
            self._score(images[start : start + step], groups, captions, folded, texts.mask)
            for start in range(0, len(images), step)
        ]
        return torch.cat(rows)

    def _score(
        self,
        images: Encoded,
        groups: LengthGroups,
        captions: Sequence["_Captions"],
        folded: Sequence[FoldedQuery],
        token_mask: Bool[Tensor, "C T"],
    ) -> Float[Tensor, "I C"]:
        nodes = (self._nodes(images, group) for group in captions)
        if self.reasoning == "sgr":
            vectors = [reason_over_graph(self.SGR_module, folded, group) for group in nodes]
        else:
            vectors = self.SAF_module(groups, list(nodes), functional.pad(token_mask, (1, 0), value=True))
        # Scores in half precision would tie where a ranking must tell them apart.
        with torch.autocast(token_mask.device.type, enabled=False):
            weight, bias = at_least_float32(self.sim_eval_w.weight), at_least_float32(self.sim_eval_w.bias)
            logits = functional.linear(at_least_float32(groups.restore(vectors)), weight, bias)
        return logits.squeeze(2).sigmoid()

    def _nodes(self, images: Encoded, captions: "_Captions") -> Float[Tensor, "I c Q S"]:
        """Similarity vectors of the whole of every image and caption (node 0), and of each word (the others)."""
        assert images.pooled is not None and images.tokens is not None and images.mask is not None
        regions, (number, length) = images.tokens, captions.words.shape[:2]
        weights = word_region_attention(captions.words, regions, images.mask).flatten(2)
        weights = unit_context_weights(weights, regions)
        local = self._project(self.sim_tranloc_w, weights.mT, regions, captions.words.flatten(0, 1))
        ones = regions.new_ones(len(regions), number, 1)
        overall = self._project(self.sim_tranglo_w, ones, images.pooled[:, None, :], captions.pooled)
        return torch.cat([overall[:, :, None, :], local.unflatten(1, (number, length))], dim=2)

    def _project(
        self,
        linear: nn.Linear,
        weights: Float[Tensor, "I W R"],
        regions: Float[Tensor, "I R D"],
        words: Float[Tensor, "W D"],
    ) -> Float[Tensor, "I W S"]:
        dtype = autocast_dtype(regions)
        return l2_normalise(
            project_squared_difference(*(x.to(dtype) for x in (weights, regions, words, linear.weight, linear.bias)))
        )


class _Captions(NamedTuple):
    """Captions of one length: ``c`` pooled vectors, and all of their words, of which none is padding."""

    pooled: Float[Tensor, "c D"]
    words: Float[Tensor, "c L D"]

    @classmethod
    def choose(cls, texts: Encoded, columns: Int[Tensor, " c"], length: int) -> "_Captions":
        assert texts.pooled is not None and texts.tokens is not None and texts.mask is not None
        return cls(texts.pooled[columns], real_words(texts.tokens, texts.mask, columns, length))
