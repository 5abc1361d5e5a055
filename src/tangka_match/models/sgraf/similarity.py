"""SGRAF similarity encoder: self-attention pooling, similarity graph reasoning (SGR) and attention filtration (SAF).

Axes: I images, R regions, C captions, T tokens, D joint space, S components of a similarity vector, Q nodes (similarity
vectors per pair: one global, then one per word), W real words of a group of captions. Attributes are named as in the
published weights.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from tangka_match.models.layers import CaptionBatchNorm, ItemBatchNorm, RegionSlotBatchNorm, xavier_linears_
from tangka_match.ops import (
    LengthGroups,
    at_least_float32,
    attention_pool,
    autocast_dtype,
    group_by_length,
    l2_normalise,
    masked_mean,
    project_squared_difference,
    real_words,
    unit_context_weights,
    word_region_attention,
)
from tangka_match.types import Encoded

IMAGES_AT_ONCE, CAPTIONS_AT_ONCE = 16, 64
"""Block size on a CPU outside training."""

GROUPS_ON_GPU = 3
"""Groups of captions on a GPU, for which a few large kernels are faster than many small ones: 10 % more words."""


class VisualSelfAttention(nn.Module):
    """Self-attention pooling of regions, with the mean region as the query.

    A local and a global branch (linear, batch norm, tanh, dropout) are multiplied and scored by a linear layer; the
    softmax of the scores weights the regions.

    Args:
        embed_dim: Dimensions of the joint space.
        num_regions: Maximum number of regions per image; batch norm keeps statistics for each region slot.
        dropout: Dropout probability of the branches.
    """

    def __init__(self, embed_dim: int, num_regions: int, dropout: float | int) -> None:
        super().__init__()
        self.embedding_local = nn.ModuleList([nn.Linear(embed_dim, embed_dim), RegionSlotBatchNorm(num_regions)])
        self.embedding_global = nn.Sequential(
            nn.Linear(embed_dim, embed_dim), ItemBatchNorm(embed_dim), nn.Tanh(), nn.Dropout(dropout)
        )
        self.embedding_common = nn.Sequential(nn.Linear(embed_dim, 1))
        self.dropout = nn.Dropout(dropout)
        xavier_linears_(self)

    def forward(self, regions: Float[Tensor, "I R D"], region_mask: Bool[Tensor, "I R"]) -> Float[Tensor, "I D"]:
        """Pool the real regions of each image to one L2-normalised vector."""
        linear, norm = self.embedding_local
        local_branch = self.dropout(torch.tanh(norm(linear(regions), region_mask)))
        global_branch = self.embedding_global(masked_mean(regions, region_mask))
        logits = self.embedding_common(local_branch * global_branch[:, None, :]).squeeze(2)
        return l2_normalise(attention_pool(regions, logits, region_mask))


class TextSelfAttention(nn.Module):
    """Self-attention pooling of words: `VisualSelfAttention` without batch norm.

    Args:
        embed_dim: Dimensions of the joint space.
        dropout: Dropout probability of the branches.
    """

    def __init__(self, embed_dim: int, dropout: float | int) -> None:
        super().__init__()
        self.embedding_local = nn.Sequential(nn.Linear(embed_dim, embed_dim), nn.Tanh(), nn.Dropout(dropout))
        self.embedding_global = nn.Sequential(nn.Linear(embed_dim, embed_dim), nn.Tanh(), nn.Dropout(dropout))
        self.embedding_common = nn.Sequential(nn.Linear(embed_dim, 1))
        xavier_linears_(self)

    def forward(self, words: Float[Tensor, "C T D"], token_mask: Bool[Tensor, "C T"]) -> Float[Tensor, "C D"]:
        """Pool the real words of each caption to one L2-normalised vector."""
        local_branch = self.embedding_local(words)
        global_branch = self.embedding_global(masked_mean(words, token_mask))
        logits = self.embedding_common(local_branch * global_branch[:, None, :]).squeeze(2)
        return l2_normalise(attention_pool(words, logits, token_mask))


class SimilarityAttentionFiltration(nn.Module):
    """Similarity attention filtration (SAF): weighted mean of the similarity vectors of a pair.

    A weight is the sigmoid of the batch-normalised linear score of a vector, divided by the sum over the pair. Words
    with little meaning learn small weights.

    Args:
        sim_dim: Dimensions of a similarity vector.
    """

    def __init__(self, sim_dim: int) -> None:
        super().__init__()
        self.attn_sim_w = nn.Linear(sim_dim, 1)
        self.bn = CaptionBatchNorm()
        xavier_linears_(self)

    def forward(
        self, groups: LengthGroups, nodes: Sequence[Float[Tensor, "I _c _q S"]], mask: Bool[Tensor, "C Q"]
    ) -> list[Float[Tensor, "I _c S"]]:
        """Pool the ``_q`` vectors of each pair to one L2-normalised vector of ``S`` = ``sim_dim`` components.

        Args:
            groups: Captions grouped by length.
            nodes: Similarity vectors of each group.
            mask: ``True`` where a caption, in the order of the batch, has a node.
        """
        longest = mask.shape[1]
        logits = [self.attn_sim_w(group).squeeze(3) for group in nodes]
        padded = groups.restore([functional.pad(group, (0, longest - group.shape[2])) for group in logits])
        shares = at_least_float32(self.bn(padded, mask)).sigmoid()
        if any(words is not None for words in groups.masks):
            shares = shares.masked_fill(~mask, 0)
        pooled = []
        for columns, group in zip(groups.columns, nodes, strict=True):
            weights = shares[:, columns, : group.shape[2]]
            weights = weights / (weights.sum(dim=2, keepdim=True) + 1e-8)
            pooled.append(l2_normalise((weights.to(group.dtype)[:, :, None, :] @ group).squeeze(2)))
        return pooled


class GraphWeights(NamedTuple):
    """Weights of a graph step, with query and key merged, in the dtype of the nodes."""

    query: Float[Tensor, "S S"]
    query_bias: Float[Tensor, " S"]
    out: Float[Tensor, "S S"]
    out_bias: Float[Tensor, " S"]


class SimilarityGraphStep(nn.Module):
    r"""Parameters of one step of similarity graph reasoning (SGR).

    Node :math:`p` becomes :math:`\mathrm{ReLU}(W_g \sum_q \mathrm{softmax}_q(W_q s_p \cdot W_k s_q)\, s_q)`; the dot
    product is not scaled.

    Args:
        sim_dim: Dimensions of a similarity vector.
    """

    def __init__(self, sim_dim: int) -> None:
        super().__init__()
        self.graph_query_w = nn.Linear(sim_dim, sim_dim)
        self.graph_key_w = nn.Linear(sim_dim, sim_dim)
        self.sim_graph_w = nn.Linear(sim_dim, sim_dim)
        xavier_linears_(self)

    def prepare(self, dtype: torch.dtype) -> GraphWeights:
        r"""Merge query and key into one linear layer.

        :math:`(W_q x + b_q) \cdot (W_k y + b_k) = (W_k^\top W_q x + W_k^\top b_q) \cdot y + c_x`, and the softmax over
        :math:`y` does not depend on :math:`c_x`, which holds the key's bias. ``beta=0`` gives this bias a gradient of
        zero, because DDP expects a gradient for every parameter.

        Args:
            dtype: Dtype of the nodes.
        """
        query, key, out = self.graph_query_w, self.graph_key_w, self.sim_graph_w
        with torch.autocast(query.weight.device.type, enabled=False):
            folded = key.weight.T @ query.weight
            folded_bias = torch.addmv(key.bias, key.weight.T, query.bias, beta=0)
        return GraphWeights(*(x.to(dtype) for x in (folded, folded_bias, out.weight, out.bias)))


def reason_over_graph(
    steps: Sequence[GraphWeights], nodes: Float[Tensor, "I C Q S"], words: Bool[Tensor, "C _l"] | None = None
) -> Float[Tensor, "I C S"]:
    """Apply graph reasoning steps, and return node 0, the global one.

    The last step updates node 0 only.

    Args:
        steps: Output of ``SimilarityGraphStep.prepare`` for each step.
        nodes: Similarity vectors of each pair.
        words: ``True`` where a caption has a word, whose node follows node 0; ``None`` if all nodes are real.
    """
    pairs = nodes.flatten(0, 1)
    barred = None if words is None else functional.pad(~words, (1, 0)).repeat(len(nodes), 1)[:, None, :]
    for step in steps[:-1]:
        pairs = _receive(step, pairs, pairs, barred)
    # In half precision, a product over a strided batch would run once per pair.
    overall = pairs[:, :1].contiguous()
    return _receive(steps[-1], overall, pairs, barred).squeeze(1).unflatten(0, nodes.shape[:2])


def _receive(
    step: GraphWeights,
    receivers: Float[Tensor, "N P S"],
    nodes: Float[Tensor, "N Q S"],
    barred: Bool[Tensor, "N 1 Q"] | None,
) -> Float[Tensor, "N P S"]:
    """Update ``receivers``, some or all nodes of a pair, by messages from ``nodes`` that are not ``barred``."""
    affinity = at_least_float32(functional.linear(receivers, step.query, step.query_bias) @ nodes.mT)
    if barred is not None:
        affinity = affinity.masked_fill(barred, float("-inf"))
    edges = affinity.softmax(dim=-1).to(nodes.dtype)
    return functional.relu(functional.linear(edges @ nodes, step.out, step.out_bias), inplace=True)


class SimilarityEncoder(nn.Module):
    """SGRAF similarity encoder: similarity vectors, reasoning and scores (sections 3.2 and 3.3).

    Args:
        embed_dim: Dimensions of the joint space.
        num_regions: Maximum number of regions per image.
        sim_dim: Dimensions of a similarity vector.
        reasoning: ``"sgr"`` (graph reasoning), ``"saf"`` (attention filtration), or ``"both"`` (mean of their scores).
        graph_steps: Number of graph reasoning steps; not used by ``"saf"``.
        dropout: Dropout probability of the self-attention pooling.
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
        if reasoning == "both":  # `sim_eval_w` then belongs to SGR
            self.sim_eval_saf_w = nn.Linear(sim_dim, 1)
        xavier_linears_(self)

    def forward(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Score every image against every caption, in (0, 1), from pooled vectors and sequences of both."""
        assert images.tokens is not None and texts.mask is not None
        dtype = autocast_dtype(images.tokens)
        on_cpu = texts.mask.device.type == "cpu"
        # Batch norm needs all images of a training batch at once; a CPU is faster on blocks that stay in its cache.
        in_blocks = on_cpu and not self.training
        groups = group_by_length(
            texts.mask,
            CAPTIONS_AT_ONCE if in_blocks else None,
            texts.lengths,
            max_groups=None if on_cpu else GROUPS_ON_GPU,
        )
        pooled, captions = _gather_captions(texts, groups, dtype)
        weights = self._prepare(dtype)
        # Groups hold the words of a caption one after the other, wherever they are in the mask.
        node_mask = functional.pad(texts.mask.sort(dim=1, descending=True).values, (1, 0), value=True)
        step = IMAGES_AT_ONCE if in_blocks else len(images)
        reasoned: dict[str, list[Tensor]] = {head: [] for head in self._heads()}
        for start in range(0, len(images), step):
            block = _gather_images(images[start : start + step], dtype)
            overall = _global_nodes(weights, block, pooled).split([len(columns) for columns in groups.columns], dim=1)
            nodes: Iterable[Tensor] = (
                _nodes(weights, block, node, words) for node, words in zip(overall, captions, strict=True)
            )
            if self.reasoning != "sgr":
                nodes = list(nodes)
                reasoned["saf"].append(groups.restore(self.SAF_module(groups, nodes, node_mask)))
            if self.reasoning != "saf":
                vectors = [
                    reason_over_graph(weights.graph, group, words)
                    for group, words in zip(nodes, groups.masks, strict=True)
                ]
                reasoned["sgr"].append(groups.restore(vectors))
        scores = [_read_out(layer, torch.cat(reasoned[head])) for head, layer in self._heads().items()]
        return torch.stack(scores).mean(dim=0) if len(scores) > 1 else scores[0]

    def _heads(self) -> dict[str, nn.Linear]:
        """Return the read-out layers by name of the reasoning."""
        if self.reasoning == "both":
            return {"sgr": self.sim_eval_w, "saf": self.sim_eval_saf_w}
        return {self.reasoning: self.sim_eval_w}

    def _prepare(self, dtype: torch.dtype) -> "_Weights":
        local, overall = ((x.weight.to(dtype), x.bias.to(dtype)) for x in (self.sim_tranloc_w, self.sim_tranglo_w))
        steps = cast("Iterable[SimilarityGraphStep]", self.SGR_module) if self.reasoning != "saf" else ()
        return _Weights(local, overall, [step.prepare(dtype) for step in steps])


class _Weights(NamedTuple):
    """Weights in the dtype of the computation, cast once per call."""

    local: tuple[Float[Tensor, "S D"], Float[Tensor, " S"]]
    overall: tuple[Float[Tensor, "S D"], Float[Tensor, " S"]]
    graph: Sequence[GraphWeights]


class _Images(NamedTuple):
    pooled: Float[Tensor, "I D"]
    regions: Float[Tensor, "I R D"]
    mask: Bool[Tensor, "I R"]
    gram: Float[Tensor, "I R R"]


def _read_out(layer: nn.Linear, vectors: Float[Tensor, "I C S"]) -> Float[Tensor, "I C"]:
    # In half precision, different scores would tie.
    with torch.autocast(vectors.device.type, enabled=False):
        weight, bias = at_least_float32(layer.weight), at_least_float32(layer.bias)
        return functional.linear(at_least_float32(vectors), weight, bias).squeeze(2).sigmoid()


def _gather_images(images: Encoded, dtype: torch.dtype) -> _Images:
    assert images.pooled is not None and images.tokens is not None and images.mask is not None
    with torch.autocast(images.tokens.device.type, enabled=False):
        wide = at_least_float32(images.tokens)
        gram = wide @ wide.mT
    return _Images(images.pooled.to(dtype), images.tokens.to(dtype), images.mask, gram)


def _gather_captions(
    texts: Encoded, groups: LengthGroups, dtype: torch.dtype
) -> tuple[Float[Tensor, "C D"], list[Float[Tensor, "_c _l D"]]]:
    """Return the pooled captions, group by group, and the words of each group; missing words are zero."""
    assert texts.pooled is not None and texts.tokens is not None and texts.mask is not None
    pooled = texts.pooled.to(dtype)[torch.cat(list(groups.columns))]
    return pooled, real_words(texts.tokens.to(dtype), texts.mask, groups)


def _global_nodes(weights: _Weights, images: _Images, pooled: Float[Tensor, "C D"]) -> Float[Tensor, "I C S"]:
    """Compute the similarity vectors of whole images and captions."""
    ones = pooled.new_ones(len(images.pooled), len(pooled), 1)
    return project_squared_difference(ones, images.pooled[:, None, :], pooled, *weights.overall)


def _nodes(
    weights: _Weights, images: _Images, overall: Float[Tensor, "I c S"], words: Float[Tensor, "c L D"]
) -> Float[Tensor, "I c Q S"]:
    """Compute the similarity vectors of each pair of a group: node 0 is global, the others belong to the words."""
    regions = images.regions
    attention = unit_context_weights(word_region_attention(words, regions, images.mask).flatten(2), images.gram)
    local = project_squared_difference(attention.mT.to(regions.dtype), regions, words.flatten(0, 1), *weights.local)
    return l2_normalise(torch.cat([overall[:, :, None, :], local.unflatten(1, words.shape[:2])], dim=2))
