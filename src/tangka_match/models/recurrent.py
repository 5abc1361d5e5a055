"""Recurrent layers over padded sequences, in PyTorch and as one node of an ONNX graph.

Axes: N sequences, L positions, E components of the input, H = directions x h units.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.models.layers import run_masked
from tangka_match.ops import lengths_of
from tangka_match.types import Lengths

_ONNX_GATES = {nn.GRU: (1, 0, 2), nn.LSTM: (0, 3, 1, 2)}
"""PyTorch's gates in the order of ONNX: update, reset, new; input, output, forget, cell."""


def run_recurrent(
    rnn: nn.GRU | nn.LSTM, inputs: Float[Tensor, "N L E"], mask: Bool[Tensor, "N L"], lengths: Lengths | None = None
) -> Float[Tensor, "N L H"]:
    """Run ``run_masked``; while an ONNX graph is traced, add the operator ``GRU`` or ``LSTM`` in its place.

    The graph cannot step over the captions of a batch, whose number and lengths are not known to it. The operators of
    ONNX take the lengths as an input, and compute the same.

    Args:
        rnn: Batch-first recurrent network without dropout between its layers.
        inputs: Input vectors.
        mask: ``True`` where a position is real; the real ones come first.
        lengths: Number of real positions per sequence; ``None`` asks the device of the mask.

    Returns:
        Outputs, directions concatenated; zero at padding.

    Raises:
        ShapeError: If a sequence has no real position.
    """
    if not torch.onnx.is_in_onnx_export():
        return run_masked(rnn, inputs, lengths or lengths_of(mask))
    counts = mask.sum(dim=1).to(torch.int32)
    states = inputs.transpose(0, 1)
    for layer in range(rnn.num_layers):
        states = _onnx_layer(rnn, layer, states, counts)
    return states.transpose(0, 1)


def _onnx_layer(rnn: nn.GRU | nn.LSTM, layer: int, inputs: Tensor, counts: Tensor) -> Tensor:
    """Add one layer of (L, N, E) inputs; returns (L, N, H)."""
    directions = 2 if rnn.bidirectional else 1
    kind = nn.GRU if isinstance(rnn, nn.GRU) else nn.LSTM
    weights = rnn.all_weights[layer * directions : (layer + 1) * directions]
    w_in, w_state, b_in, b_state = (
        torch.stack([_reorder(part, _ONNX_GATES[kind]) for part in parts]) for parts in zip(*weights, strict=True)
    )
    operands = (inputs, w_in, w_state, torch.cat([b_in, b_state], dim=1), counts)
    attributes: dict[str, Any] = {
        "hidden_size": rnn.hidden_size,
        "direction": "bidirectional" if rnn.bidirectional else "forward",
    }
    if kind is nn.GRU:
        attributes["linear_before_reset"] = 1  # PyTorch's order, see the equations of nn.GRU
    states = torch.onnx.ops.symbolic(
        kind.__name__,
        operands,
        attributes,
        dtype=inputs.dtype,
        shape=(inputs.shape[0], directions, inputs.shape[1], rnn.hidden_size),
    )
    return states.transpose(1, 2).flatten(2)


def _reorder(weight: Tensor, gates: tuple[int, ...]) -> Tensor:
    parts = weight.chunk(len(gates))
    return torch.cat([parts[gate] for gate in gates])
