"""Reference implementation of SGRAF from the paper's equations (arXiv 2101.01368): a loop over captions.

Used by tests for parity and by benchmarks as baseline. As in the published code, one caption at a time is compared
with all images. It shares only the names of the weights with the package and uses no padding: images with equally many
real regions are stacked, a caption is a list of its real words, and the GRU is written out. Equation numbers refer to
the paper.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, linear

Weights = Mapping[str, Tensor]


class SlowImage(NamedTuple):
    """Real regions of an image, (r, F), and the region slot of each."""

    features: Tensor
    slots: list[int]


class Stack(NamedTuple):
    """Rows of n images with equally many regions, and their embedded regions, (n, r, D)."""

    rows: list[int]
    regions: Tensor


def slow_images(regions: Tensor, region_mask: Tensor) -> list[SlowImage]:
    """Remove the padding of images (I, R, F)."""
    return [SlowImage(x[m], m.nonzero().flatten().tolist()) for x, m in zip(regions, region_mask, strict=True)]


def slow_captions(token_ids: Tensor, token_mask: Tensor) -> list[list[int]]:
    """Remove the padding of captions (C, T)."""
    return [ids[m].tolist() for ids, m in zip(token_ids, token_mask, strict=True)]


def slow_sgraf(weights: Weights, images: list[SlowImage], captions: list[list[int]], training: bool = False) -> Tensor:
    """Compute the scores (I, C) of a model with L2-normalised regions and words, without dropout."""
    regions = [_unit(_linear(weights, "img_enc.fc", image.features)) for image in images]
    image_vectors = _image_vectors(weights, regions, [image.slots for image in images], training)
    words = [_unit(_gru(weights, weights["txt_enc.embed.weight"][caption])) for caption in captions]
    return slow_scores(weights, _stacks(regions), torch.stack(image_vectors), words, training)


def slow_scores(
    weights: Weights, stacks: Sequence[Stack], image_vectors: Tensor, captions: Sequence[Tensor], training: bool = False
) -> Tensor:
    """Compute the scores (I, C) of embedded regions, pooled images (I, D) and embedded words, (t, D) per caption."""
    order = torch.tensor([row for stack in stacks for row in stack.rows])
    columns = [_caption_column(weights, stacks, image_vectors[order], words, training) for words in captions]
    return torch.stack(columns, dim=1)[order.argsort()]


def _stacks(regions: list[Tensor]) -> list[Stack]:
    rows_of: dict[int, list[int]] = {}
    for row, image in enumerate(regions):
        rows_of.setdefault(len(image), []).append(row)
    return [Stack(rows, torch.stack([regions[row] for row in rows])) for rows in rows_of.values()]


def _caption_column(
    weights: Weights, stacks: Sequence[Stack], image_vectors: Tensor, words: Tensor, training: bool
) -> Tensor:
    caption_vector = _caption_vector(weights, words)
    overall = _unit(_linear(weights, "sim_enc.sim_tranglo_w", (image_vectors - caption_vector) ** 2))  # 3
    local = []
    for _, regions in stacks:
        repeated = words.repeat(len(regions), 1, 1)
        context = _context(repeated, regions)  # 4
        local.append(_unit(_linear(weights, "sim_enc.sim_tranloc_w", (context - repeated) ** 2)))  # 5
    nodes = torch.cat([overall[:, None], torch.cat(local)], dim=1)
    if "sim_enc.SAF_module.bn.weight" in weights:
        vectors = _filtrate(weights, nodes, training)
    else:
        vectors = _reason(weights, nodes)
    return torch.sigmoid(_linear(weights, "sim_enc.sim_eval_w", vectors)).squeeze(1)


def _context(words: Tensor, regions: Tensor) -> Tensor:
    """Attend from words (n, t, D) to regions (n, r, D): L2 norm over words, then softmax over regions."""
    affinity = leaky_relu(regions @ words.mT, 0.1)
    affinity = affinity / ((affinity**2).sum(2, keepdim=True).sqrt() + 1e-8)
    chosen = torch.softmax(9 * affinity.mT.contiguous(), dim=2)
    return _unit((regions.mT @ chosen.mT.contiguous()).mT)


def _reason(weights: Weights, nodes: Tensor) -> Tensor:
    """Graph reasoning (equations 6 and 7) of all images (I, n, S) with one caption; returns node 0."""
    step = 0
    while (prefix := f"sim_enc.SGR_module.{step}.") + "sim_graph_w.weight" in weights:
        queries, keys = (
            _linear(weights, prefix + "graph_query_w", nodes),
            _linear(weights, prefix + "graph_key_w", nodes),
        )
        edges = torch.softmax(queries @ keys.mT, dim=2)
        nodes = _linear(weights, prefix + "sim_graph_w", edges @ nodes).relu()
        step += 1
    return nodes[:, 0]


def _filtrate(weights: Weights, nodes: Tensor, training: bool) -> Tensor:
    """Attention filtration (equations 8 and 9) of all images (I, n, S) with one caption."""
    prefix = "sim_enc.SAF_module."
    scores = _linear(weights, prefix + "attn_sim_w", nodes).squeeze(2)
    mean, var = (scores.mean(), scores.var(correction=0)) if training else _running(weights, prefix + "bn")
    attention = torch.sigmoid(_batch_norm(weights, prefix + "bn", scores, mean, var))
    attention = attention / (attention.sum(1, keepdim=True) + 1e-8)
    return _unit((attention[:, None] @ nodes).squeeze(1))


def _image_vectors(weights: Weights, regions: list[Tensor], slots: list[list[int]], training: bool) -> list[Tensor]:
    """Self-attention of each image (equations 1 and 2), with batch norm over slots and over dimensions."""
    prefix = "sim_enc.v_global_w."
    local = [_linear(weights, prefix + "embedding_local.0", r) for r in regions]
    means, variances = (x.clone() for x in _running(weights, prefix + "embedding_local.1"))
    if training:
        for slot in sorted({s for image in slots for s in image}):
            values = torch.cat([x[image.index(slot)] for x, image in zip(local, slots, strict=True) if slot in image])
            means[slot], variances[slot] = values.mean(), values.var(correction=0)
    scale, shift = weights[prefix + "embedding_local.1.weight"], weights[prefix + "embedding_local.1.bias"]
    local = [
        torch.stack(
            [
                torch.tanh((row - means[s]) / (variances[s] + 1e-5).sqrt() * scale[s] + shift[s])
                for row, s in zip(x, image, strict=True)
            ]
        )
        for x, image in zip(local, slots, strict=True)
    ]
    overall = _linear(weights, prefix + "embedding_global.0", torch.stack([r.mean(0) for r in regions]))
    batch = training and len(regions) > 1
    stats = (
        (overall.mean(0), overall.var(0, correction=0)) if batch else _running(weights, prefix + "embedding_global.1")
    )
    overall = torch.tanh(_batch_norm(weights, prefix + "embedding_global.1", overall, *stats))
    return [_weighted(weights, prefix, r, x * g) for r, x, g in zip(regions, local, overall, strict=True)]


def _caption_vector(weights: Weights, words: Tensor) -> Tensor:
    """Self-attention of one caption (equations 1 and 2)."""
    prefix = "sim_enc.t_global_w."
    local = torch.tanh(_linear(weights, prefix + "embedding_local.0", words))
    overall = torch.tanh(_linear(weights, prefix + "embedding_global.0", words.mean(0)))
    return _weighted(weights, prefix, words, local * overall)


def _weighted(weights: Weights, prefix: str, rows: Tensor, common: Tensor) -> Tensor:
    share = torch.softmax(_linear(weights, prefix + "embedding_common.0", common).squeeze(1), dim=0)
    return _unit(share @ rows)


def _gru(weights: Weights, inputs: Tensor) -> Tensor:
    """One GRU layer; the mean of both directions if it is bidirectional."""
    states = _gru_direction(weights, inputs, "")
    if "txt_enc.cap_rnn.weight_ih_l0_reverse" not in weights:
        return states
    return (states + _gru_direction(weights, inputs.flip(0), "_reverse").flip(0)) / 2


def _gru_direction(weights: Weights, inputs: Tensor, suffix: str) -> Tensor:
    w_in, w_state, b_in, b_state = (
        weights[f"txt_enc.cap_rnn.{name}_l0{suffix}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    state, states = inputs.new_zeros(w_state.shape[1]), []
    for row in inputs:
        reset_in, update_in, new_in = (w_in @ row + b_in).chunk(3)
        reset_state, update_state, new_state = (w_state @ state + b_state).chunk(3)
        reset, update = torch.sigmoid(reset_in + reset_state), torch.sigmoid(update_in + update_state)
        state = (1 - update) * torch.tanh(new_in + reset * new_state) + update * state
        states.append(state)
    return torch.stack(states)


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _running(weights: Weights, name: str) -> tuple[Tensor, Tensor]:
    return weights[f"{name}.running_mean"], weights[f"{name}.running_var"]


def _batch_norm(weights: Weights, name: str, x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return (x - mean) / (var + 1e-5).sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _unit(x: Tensor) -> Tensor:
    return x / ((x**2).sum(-1, keepdim=True).sqrt() + 1e-8)
