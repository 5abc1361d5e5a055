"""A recurrent network that stops at the end of every caption."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tangka_match.errors import ShapeError


def run_masked(
    rnn: nn.GRU | nn.LSTM, inputs: Float[Tensor, "C T E"], token_mask: Bool[Tensor, "C T"]
) -> Float[Tensor, "C T H"]:
    """Run a batch-first ``nn.GRU`` or ``nn.LSTM`` over the real tokens of captions in any order.

    The backward direction starts at the last real token, so padding changes nothing. ``E`` are the components of the
    input, ``H`` those of the output (both directions one after the other); padding becomes zero.

    Raises:
        ShapeError: A caption has no real token.
    """
    lengths = token_mask.sum(dim=1)
    if (lengths == 0).any():
        row = int((lengths == 0).nonzero()[0])
        raise ShapeError(
            f"caption {row} of this batch has 0 real tokens; at least 1 is needed (<start> and <end> count)"
        )
    if inputs.is_cuda:  # cuDNN knows packed sequences
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(rnn(packed)[0], batch_first=True, total_length=token_mask.shape[1])[0]
    # On a CPU the gradient of a packed sequence fills a tensor of all its words once a time step. A pass over the
    # padding, with the captions reversed for the backward direction, is the same function and half the time.
    reversal = _reversal(token_mask, lengths)
    for layer in range(rnn.num_layers):
        states = [_run_direction(rnn, layer, inputs)]
        if rnn.bidirectional:
            reversed_states = _run_direction(rnn, layer, _reorder(inputs, reversal), backward=True)
            states.append(_reorder(reversed_states, reversal))
        inputs = torch.cat(states, dim=2)
    return inputs.masked_fill(~token_mask[:, :, None], 0)


def average_directions(states: Float[Tensor, "C T H"]) -> Float[Tensor, "C T h"]:
    """Mean of the forward and the backward states, which ``run_masked`` returns one after the other."""
    forward_states, backward_states = states.chunk(2, dim=2)
    return (forward_states + backward_states) / 2


def _run_direction(
    rnn: nn.GRU | nn.LSTM, layer: int, inputs: Float[Tensor, "C T E"], *, backward: bool = False
) -> Float[Tensor, "C T h"]:
    """One direction of one layer, from the first position to the last."""
    assert rnn.batch_first and rnn.dropout == 0, "dropout between layers is not done here"
    weights: list[Tensor] = list(rnn.all_weights[layer * (2 if rnn.bidirectional else 1) + backward])
    start = inputs.new_zeros(1, len(inputs), rnn.hidden_size)
    one_layer, one_way, batch_first = 1, False, True
    if isinstance(rnn, nn.LSTM):
        return torch.lstm(
            inputs, [start, start], weights, rnn.bias, one_layer, 0.0, rnn.training, one_way, batch_first
        )[0]
    return torch.gru(inputs, start, weights, rnn.bias, one_layer, 0.0, rnn.training, one_way, batch_first)[0]


def _reversal(token_mask: Bool[Tensor, "C T"], lengths: Int[Tensor, " C"]) -> Int[Tensor, " N"]:
    """Positions, in all captions one after the other, that turn each caption round and leave its padding at the end."""
    captions, longest = token_mask.shape
    positions = torch.arange(longest, device=token_mask.device).expand(captions, -1)
    turned = torch.where(token_mask, lengths[:, None] - 1 - positions, positions)
    return (turned + longest * torch.arange(captions, device=token_mask.device)[:, None]).flatten()


def _reorder(x: Float[Tensor, "C T E"], order: Int[Tensor, " N"]) -> Float[Tensor, "C T E"]:
    return x.flatten(0, 1).index_select(0, order).unflatten(0, x.shape[:2])
