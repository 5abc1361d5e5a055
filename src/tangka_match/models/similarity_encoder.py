"""The half of SGRAF that compares images with captions."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from tangka_match.models.initialisation import xavier_linears_
from tangka_match.models.similarity_attention import SimilarityAttentionFiltration
from tangka_match.models.similarity_graph import GraphWeights, SimilarityGraphStep, reason_over_graph
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
"""Pairs that a CPU scores together when it is not training."""


class SimilarityEncoder(nn.Module):
    """Similarity vectors of every image and caption, their reasoning, and the score (SGRAF, section 3.2 and 3.3).

    The attributes are named as in the published weights.

    Args:
        embed_dim: Dimensions of the joint space.
        num_regions: Most regions an image may have.
        sim_dim: Dimensions of a similarity vector.
        reasoning: ``"sgr"`` (graph reasoning), ``"saf"`` (attention filtration), or ``"both"``: their mean score.
        graph_steps: Steps of graph reasoning; not for ``"saf"``.
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
        if reasoning != "saf":
            self.SGR_module = nn.ModuleList(SimilarityGraphStep(sim_dim) for _ in range(graph_steps))
        if reasoning != "sgr":
            self.SAF_module = SimilarityAttentionFiltration(sim_dim)
        if reasoning == "both":  # a read-out each: `sim_eval_w` is that of SGR
            self.sim_eval_saf_w = nn.Linear(sim_dim, 1)
        xavier_linears_(self)

    def forward(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Score every image against every caption, in (0, 1); both come with pooled vectors and sequences."""
        assert images.tokens is not None and texts.mask is not None
        dtype = autocast_dtype(images.tokens)
        # Batch norm wants all images of a training batch at once, a GPU all it can get; a CPU what stays in its cache.
        in_pieces = texts.mask.device.type == "cpu" and not self.training
        groups = group_by_length(texts.mask, CAPTIONS_AT_ONCE if in_pieces else None)
        captions = _gather_captions(texts, groups, dtype)
        weights = self._prepare(dtype)
        node_mask = functional.pad(texts.mask, (1, 0), value=True)
        step = IMAGES_AT_ONCE if in_pieces else len(images)
        reasoned: dict[str, list[Tensor]] = {head: [] for head in self._heads()}
        for start in range(0, len(images), step):
            block = _gather_images(images[start : start + step], dtype)
            nodes: Iterable[Tensor] = (_nodes(weights, block, group) for group in captions)
            if self.reasoning != "sgr":
                nodes = list(nodes)
                reasoned["saf"].append(groups.restore(self.SAF_module(groups, nodes, node_mask)))
            if self.reasoning != "saf":
                vectors = [reason_over_graph(weights.graph, group) for group in nodes]
                reasoned["sgr"].append(groups.restore(vectors))
        scores = [_read_out(layer, torch.cat(reasoned[head])) for head, layer in self._heads().items()]
        return torch.stack(scores).mean(dim=0) if len(scores) > 1 else scores[0]

    def _heads(self) -> dict[str, nn.Linear]:
        """The layers that make a score of a reasoned vector."""
        if self.reasoning == "both":
            return {"sgr": self.sim_eval_w, "saf": self.sim_eval_saf_w}
        return {self.reasoning: self.sim_eval_w}

    def _prepare(self, dtype: torch.dtype) -> "_Weights":
        local, overall = ((x.weight.to(dtype), x.bias.to(dtype)) for x in (self.sim_tranloc_w, self.sim_tranglo_w))
        steps = cast("Iterable[SimilarityGraphStep]", self.SGR_module) if self.reasoning != "saf" else ()
        return _Weights(local, overall, [step.prepare(dtype) for step in steps])


class _Weights(NamedTuple):
    """Weights in the dtype of the computation, cast once a call: of the projections to similarity vectors, and more."""

    local: tuple[Float[Tensor, "S D"], Float[Tensor, " S"]]
    overall: tuple[Float[Tensor, "S D"], Float[Tensor, " S"]]
    graph: Sequence[GraphWeights]


class _Images(NamedTuple):
    pooled: Float[Tensor, "I D"]
    regions: Float[Tensor, "I R D"]
    mask: Bool[Tensor, "I R"]
    gram: Float[Tensor, "I R R"]


class _Captions(NamedTuple):
    """Captions of one length: none of their words is padding."""

    pooled: Float[Tensor, "c D"]
    words: Float[Tensor, "c L D"]


def _read_out(layer: nn.Linear, vectors: Float[Tensor, "I C S"]) -> Float[Tensor, "I C"]:
    # Scores in half precision would tie where a ranking must tell them apart.
    with torch.autocast(vectors.device.type, enabled=False):
        weight, bias = at_least_float32(layer.weight), at_least_float32(layer.bias)
        return functional.linear(at_least_float32(vectors), weight, bias).squeeze(2).sigmoid()


def _gather_images(images: Encoded, dtype: torch.dtype) -> _Images:
    assert images.pooled is not None and images.tokens is not None and images.mask is not None
    with torch.autocast(images.tokens.device.type, enabled=False):
        wide = at_least_float32(images.tokens)
        gram = wide @ wide.mT
    return _Images(images.pooled.to(dtype), images.tokens.to(dtype), images.mask, gram)


def _gather_captions(texts: Encoded, groups: LengthGroups, dtype: torch.dtype) -> list[_Captions]:
    assert texts.pooled is not None and texts.tokens is not None and texts.mask is not None
    pooled, tokens = texts.pooled.to(dtype), texts.tokens.to(dtype)
    return [
        _Captions(pooled[columns], real_words(tokens, texts.mask, columns, length))
        for columns, length in zip(groups.columns, groups.lengths, strict=True)
    ]


def _nodes(weights: _Weights, images: _Images, captions: _Captions) -> Float[Tensor, "I c Q S"]:
    """Similarity vectors of the whole of every image and caption (node 0), and of each word (the others)."""
    regions, words = images.regions, captions.words.flatten(0, 1)
    attention = unit_context_weights(
        word_region_attention(captions.words, regions, images.mask).flatten(2), images.gram
    )
    local = project_squared_difference(attention.mT.to(regions.dtype), regions, words, *weights.local)
    ones = regions.new_ones(len(regions), len(captions.pooled), 1)
    overall = project_squared_difference(ones, images.pooled[:, None, :], captions.pooled, *weights.overall)
    return l2_normalise(torch.cat([overall[:, :, None, :], local.unflatten(1, captions.words.shape[:2])], dim=2))
