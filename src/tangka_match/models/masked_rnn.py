"""A recurrent network that stops at the end of every caption."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tangka_match.errors import ShapeError
from tangka_match.ops import at_least_float32


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
    # On a CPU, torch fills a tensor of all words once a time step in the gradient of a packed sequence, and a pass over
    # the padding computes the padding. Step by step over the captions that still have a word, neither is done.
    order = _TimeOrder.of(token_mask, lengths)
    for layer in range(rnn.num_layers):
        states = [_run_direction(rnn, layer, inputs, order)]
        if rnn.bidirectional:
            states.append(_run_direction(rnn, layer, inputs, order, backward=True))
        inputs = torch.cat(states, dim=2)
    return inputs


def average_directions(states: Float[Tensor, "C T H"]) -> Float[Tensor, "C T h"]:
    """Mean of the forward and the backward states, which ``run_masked`` returns one after the other."""
    forward_states, backward_states = states.chunk(2, dim=2)
    return (forward_states + backward_states) / 2


class _TimeOrder(NamedTuple):
    """All real words: first those read first, the longest caption's before the others', then those read second, ...

    The captions that still have a word at a step are then the first ones of the step before.

    Args:
        forward: Where each of the W words is among all C x T positions, for captions read from the front.
        backward: The same for captions read from the end.
        captions_at: Captions that have a word at each step; their sum is W.
    """

    forward: Int[Tensor, " W"]
    backward: Int[Tensor, " W"]
    captions_at: list[int]

    @classmethod
    def of(cls, token_mask: Bool[Tensor, "C T"], lengths: Int[Tensor, " C"]) -> "_TimeOrder":
        longest_first = lengths.argsort(descending=True, stable=True)
        step, row = token_mask[longest_first].T.nonzero(as_tuple=True)
        caption = longest_first[row]
        first = caption * token_mask.shape[1]
        return cls(first + step, first + lengths[caption] - 1 - step, step.bincount().tolist())


def _run_direction(
    rnn: nn.GRU | nn.LSTM, layer: int, inputs: Float[Tensor, "C T E"], order: _TimeOrder, *, backward: bool = False
) -> Float[Tensor, "C T h"]:
    """One direction of one layer; padding is zero."""
    assert rnn.batch_first and rnn.bias and rnn.dropout == 0, "dropout between layers is not done here"
    w_in, w_state, b_in, b_state = rnn.all_weights[layer * (2 if rnn.bidirectional else 1) + backward]
    positions = order.backward if backward else order.forward
    words = inputs.flatten(0, 1).index_select(0, positions)
    from_words = at_least_float32(linear(words, w_in, b_in)).split(order.captions_at)
    steps = _lstm_steps if isinstance(rnn, nn.LSTM) else _gru_steps
    states = torch.cat(steps(from_words, w_state, b_state))
    padded = states.new_zeros(inputs.shape[0] * inputs.shape[1], rnn.hidden_size)
    return padded.index_copy(0, positions, states).unflatten(0, inputs.shape[:2])


def _gru_steps(
    from_words: Sequence[Float[Tensor, "_ g"]], w_state: Float[Tensor, "g h"], b_state: Float[Tensor, " g"]
) -> list[Float[Tensor, "_ h"]]:
    """Hidden states after each step, in the equations of ``nn.GRU``; gates and states are float32 at least."""
    units = w_state.shape[1]
    state, states = from_words[0].new_zeros(len(from_words[0]), units), []
    for gates_in in from_words:
        state = state[: len(gates_in)]
        switches_in, new_in = gates_in.split([2 * units, units], dim=1)
        gates_state = at_least_float32(linear(state, w_state, b_state))
        switches_state, new_state = gates_state.split([2 * units, units], dim=1)
        reset, update = (switches_in + switches_state).sigmoid().chunk(2, dim=1)
        state = torch.lerp(torch.addcmul(new_in, reset, new_state).tanh(), state, update)
        states.append(state)
    return states


def _lstm_steps(
    from_words: Sequence[Float[Tensor, "_ g"]], w_state: Float[Tensor, "g h"], b_state: Float[Tensor, " g"]
) -> list[Float[Tensor, "_ h"]]:
    """Hidden states after each step, in the equations of ``nn.LSTM``; gates and states are float32 at least."""
    state = memory = from_words[0].new_zeros(len(from_words[0]), w_state.shape[1])
    states = []
    for gates_in in from_words:
        state, memory = state[: len(gates_in)], memory[: len(gates_in)]
        write, keep, new, show = (gates_in + linear(state, w_state, b_state)).chunk(4, dim=1)
        memory = torch.addcmul(keep.sigmoid() * memory, write.sigmoid(), new.tanh())
        state = show.sigmoid() * memory.tanh()
        states.append(state)
    return states
