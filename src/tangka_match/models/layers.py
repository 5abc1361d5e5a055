"""Layers and argument checks that several matchers share.

Axes: I images, R regions, F features, C captions, T tokens, N items, L positions, D joint space.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple, ParamSpec

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tangka_match.errors import ConfigError, ShapeError
from tangka_match.ops import at_least_float32, in_several_processes, sum_over_processes, to_device
from tangka_match.types import Lengths

P = ParamSpec("P")


def check_sizes(init: Callable[P, None]) -> Callable[P, None]:
    """Decorate a constructor to check its sizes: all keyword arguments annotated as ``int``.

    A size must be at least 1, or at least 0 if 0 is its default. The decorated constructor raises a ``ConfigError``
    otherwise.

    >>> class Model:
    ...     @check_sizes
    ...     def __init__(self, *, embed_dim: int = 8) -> None: ...
    >>> Model(embed_dim=0)
    Traceback (most recent call last):
    tangka_match.errors.ConfigError: Model: embed_dim is 0; it must be a whole number of at least 1
    """
    parameters = inspect.signature(init).parameters.values()
    least = {p.name: 0 if p.default == 0 else 1 for p in parameters if p.annotation is int}

    @functools.wraps(init)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        for name, minimum in least.items():
            value = kwargs.get(name, minimum)
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise ConfigError(
                    f"{type(args[0]).__name__}: {name} is {value!r}; it must be a whole number of at least {minimum}"
                )
        init(*args, **kwargs)

    return checked


def check_dropout(model: str, dropout: float | int) -> None:
    """Raise ``ConfigError`` unless ``dropout`` is a probability below 1."""
    if not 0 <= dropout < 1:
        raise ConfigError(f"{model}: dropout is {dropout!r}; it must be at least 0 and below 1")


def check_choice(model: str, name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise ``ConfigError`` unless a setting has one of the allowed values."""
    if value not in allowed:
        raise ConfigError(f"{model}: {name} is {value!r}; it must be one of {', '.join(allowed)}")


def check_heads(model: str, num_heads: int, width_name: str, width: int) -> None:
    """Raise ``ConfigError`` unless the number of attention heads divides the dimensions that they attend over."""
    if width % num_heads:
        raise ConfigError(f"{model}: num_heads is {num_heads}; it must divide {width_name}={width}")


def check_regions(model: str, regions: Float[Tensor, "I R F"], feature_dim: int) -> None:
    """Raise ``ShapeError`` unless region features have ``feature_dim`` dimensions."""
    if regions.shape[2] != feature_dim:
        raise ShapeError(
            f"{model}: regions have {regions.shape[2]} features, the model was built for feature_dim={feature_dim}; "
            "build it for these data, or extract the features that it was trained on"
        )


def xavier_linears_(module: nn.Module) -> None:
    """Initialise all linear layers in ``module`` with Xavier-uniform weights and zero bias, in place."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


class _BatchStatistics(nn.Module):
    """Parameters and buffers of ``nn.BatchNorm1d``, under the same names.

    In training, the statistics of its subclasses are those of the global batch of all processes.
    """

    momentum = 0.1
    eps = 1e-5
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))


class RegionSlotBatchNorm(_BatchStatistics):
    """Batch normalisation with one channel per region slot, over the real regions; used by SGRAF.

    Without padding it equals ``nn.BatchNorm1d`` with the region's position as the channel. Running statistics of slots
    without a real region in the batch do not change.

    Args:
        num_slots: Maximum number of regions per image.
    """

    def __init__(self, num_slots: int) -> None:
        super().__init__(num_slots)

    def forward(self, x: Float[Tensor, "I R D"], mask: Bool[Tensor, "I R"]) -> Float[Tensor, "I R D"]:
        """Normalise by batch statistics in training mode (padding excluded), by running statistics otherwise.

        Raises:
            ShapeError: If there are more regions than slots.
        """
        slots = x.shape[1]
        if slots > len(self.weight):
            raise ShapeError(
                f"images have {slots} regions, the model was built for at most num_regions={len(self.weight)}; "
                f"build it with num_regions={slots}, or keep fewer regions"
            )
        wide = at_least_float32(x)
        if self.training:
            mean, var = self._batch_statistics(wide.masked_fill(~mask[:, :, None], 0), mask)
        else:
            mean, var = self.running_mean[:slots], self.running_var[:slots]
        scale = self.weight[:slots] * torch.rsqrt(var + self.eps)
        return ((wide - mean[:, None]) * scale[:, None] + self.bias[:slots, None]).to(x.dtype)

    def _batch_statistics(
        self, x: Float[Tensor, "I R D"], mask: Bool[Tensor, "I R"]
    ) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"]]:
        count = sum_over_processes(mask.sum(dim=0)) * x.shape[2]
        mean = sum_over_processes(x.sum(dim=(0, 2))) / count.clamp(min=1)
        deviations = (x - mean[:, None]).masked_fill(~mask[:, :, None], 0)
        squares = sum_over_processes(deviations.square().sum(dim=(0, 2)))
        with torch.no_grad():
            filled = count > 1
            step = self.momentum * filled.to(mean.dtype)
            slots = x.shape[1]
            self.running_mean[:slots].lerp_(mean, step)
            self.running_var[:slots].lerp_(squares / (count - 1).clamp(min=1), step)
            self.num_batches_tracked += 1
        return mean, squares / count.clamp(min=1)


class CaptionBatchNorm(_BatchStatistics):
    """Batch normalisation of one channel with separate statistics for each caption, over (images x real nodes).

    Equals the published SGRAF, which calls its batch norm once per caption, in the order of the batch.
    """

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, x: Float[Tensor, "I C L"], mask: Bool[Tensor, "C L"]) -> Float[Tensor, "I C L"]:
        """Normalise by each caption's statistics in training mode, by running statistics otherwise."""
        wide = at_least_float32(x)
        if self.training:
            count = sum_over_processes(mask.sum(dim=1) * x.shape[0])
            mean = sum_over_processes(wide.masked_fill(~mask, 0).sum(dim=(0, 2))) / count
            deviations = (wide - mean[:, None]).masked_fill(~mask, 0)
            var = sum_over_processes(deviations.square().sum(dim=(0, 2))) / count
            self._track(mean.detach(), var.detach(), count)
        else:
            mean, var = self.running_mean, self.running_var
        scale = self.weight * torch.rsqrt(var + self.eps)
        return ((wide - mean[:, None]) * scale[:, None] + self.bias).to(x.dtype)

    def _track(self, mean: Float[Tensor, " C"], var: Float[Tensor, " C"], count: Int[Tensor, " C"]) -> None:
        """Apply C updates ``running = (1 - m) * running + m * statistic`` as one weighted sum."""
        captions = len(mean)
        keep = 1 - self.momentum
        weights = self.momentum * keep ** torch.arange(captions - 1, -1, -1, device=mean.device, dtype=mean.dtype)
        unbiased = var * count / (count - 1).clamp(min=1)
        self.running_mean.mul_(keep**captions).add_(weights @ mean)
        self.running_var.mul_(keep**captions).add_(weights @ unbiased)
        self.num_batches_tracked += captions


class ItemBatchNorm(nn.BatchNorm1d):
    """``nn.BatchNorm1d`` that accepts a batch of one item, or of none, in training mode.

    A single item has no variance: it is normalised by the running statistics, which do not change. In training, the
    statistics are those of the global batch of all processes.
    """

    def forward(self, input: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Normalise every dimension."""
        if self.training and in_several_processes():
            real = torch.ones(len(input), 1, dtype=torch.bool, device=input.device)
            return _normalise_real_positions(self, input[:, None], real)[:, 0]
        if self.training and len(input) <= 1:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        return super().forward(input)


class MaskedBatchNorm(nn.BatchNorm1d):
    """``nn.BatchNorm1d`` over the real positions of sequences, whose number the host need not know.

    A single real position has no variance: it is normalised by the running statistics, which do not change. In
    training, the statistics are those of the global batch of all processes.
    """

    def forward(  # type: ignore[override]
        self, input: Float[Tensor, "N L D"], mask: Bool[Tensor, "N L"]
    ) -> Float[Tensor, "N L D"]:
        """Normalise every dimension; the values at padding are undefined."""
        return _normalise_real_positions(self, input, mask)


def _normalise_real_positions(
    norm: nn.BatchNorm1d, input: Float[Tensor, "N L D"], mask: Bool[Tensor, "N L"]
) -> Float[Tensor, "N L D"]:
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    assert norm.num_batches_tracked is not None
    wide = at_least_float32(input)
    mean, var = norm.running_mean, norm.running_var
    if norm.training:
        count, padding = sum_over_processes(mask.sum()), ~mask[:, :, None]
        several = count > 1
        batch_mean = sum_over_processes(wide.masked_fill(padding, 0).sum(dim=(0, 1))) / count.clamp(min=1)
        squares = sum_over_processes((wide - batch_mean).masked_fill(padding, 0).square().sum(dim=(0, 1)))
        mean = torch.where(several, batch_mean, mean.clone())  # the running statistics change below
        var = torch.where(several, squares / count.clamp(min=1), var.clone())
        with torch.no_grad():
            step = norm.momentum * several.to(mean.dtype)
            norm.running_mean.lerp_(batch_mean.to(norm.running_mean.dtype), step)
            norm.running_var.lerp_((squares / (count - 1).clamp(min=1)).to(norm.running_var.dtype), step)
            norm.num_batches_tracked += several
    return ((wide - mean) * (norm.weight * torch.rsqrt(var + norm.eps)) + norm.bias).to(input.dtype)


def run_masked(rnn: nn.GRU | nn.LSTM, inputs: Float[Tensor, "C T E"], lengths: Lengths) -> Float[Tensor, "C T H"]:
    """Run a batch-first ``nn.GRU`` or ``nn.LSTM`` over the real tokens of captions; captions need not be sorted.

    The backward direction starts at the last real token, so padding has no influence.

    Args:
        rnn: Recurrent network without dropout between its layers.
        inputs: Input vectors of ``E`` components.
        lengths: Number of real tokens per caption, which come first.

    Returns:
        Outputs of ``H`` components, directions concatenated; zero at padding.

    Raises:
        ShapeError: If a caption has no real token.
    """
    if 0 in lengths:
        raise ShapeError(
            f"caption {lengths.index(0)} of this batch has 0 real tokens; "
            "at least 1 is needed (<start> and <end> count)"
        )
    if inputs.is_cuda:  # cuDNN has kernels for packed sequences
        return _run_packed(rnn, inputs, lengths)
    # On a CPU, the backward pass of a packed sequence fills a tensor of all words once per time step. Stepping over the
    # captions that still have a word avoids that, and does not compute padding.
    order = _TimeOrder.of(lengths, inputs.shape[1], inputs.device)
    for layer in range(rnn.num_layers):
        states = [_run_direction(rnn, layer, inputs, order)]
        if rnn.bidirectional:
            states.append(_run_direction(rnn, layer, inputs, order, backward=True))
        inputs = torch.cat(states, dim=2)
    return inputs


def _run_packed(rnn: nn.GRU | nn.LSTM, inputs: Float[Tensor, "C T E"], lengths: Lengths) -> Float[Tensor, "C T H"]:
    """Run over a packed sequence; captions are sorted here, because torch would wait to copy their order."""
    longest_first = np.argsort(-np.array(lengths), kind="stable")
    order, back = (to_device(rows, inputs.device) for rows in (longest_first, np.argsort(longest_first)))
    packed = pack_padded_sequence(
        at_least_float32(inputs).index_select(0, order),
        torch.tensor(lengths)[torch.from_numpy(longest_first)],
        batch_first=True,
    )
    # Autocast would run cuDNN in float16, without loss scaling under bfloat16: the gradients would underflow.
    with torch.autocast(inputs.device.type, enabled=False):
        states = rnn(packed)[0]
    outputs = pad_packed_sequence(states, batch_first=True, total_length=inputs.shape[1])[0]
    return outputs.index_select(0, back)


def average_directions(states: Float[Tensor, "C T H"]) -> Float[Tensor, "C T h"]:
    """Average the forward and backward states that ``run_masked`` returns concatenated."""
    forward_states, backward_states = states.chunk(2, dim=2)
    return (forward_states + backward_states) / 2


class _TimeOrder(NamedTuple):
    """Real words in the order of the time steps, longest captions first within a step.

    The captions of a step are then a prefix of those of the step before.

    Attributes:
        forward: Positions of the W words in the flattened (C x T) captions, read from the front.
        backward: The same, read from the end.
        captions_at: Number of captions that have a word at each step; sums to W.
    """

    forward: Int[Tensor, " W"]
    backward: Int[Tensor, " W"]
    captions_at: list[int]

    @classmethod
    def of(cls, lengths: Lengths, width: int, device: torch.device) -> "_TimeOrder":
        counts = np.array(lengths)
        longest_first = np.argsort(-counts, kind="stable")
        step, row = np.nonzero(np.arange(counts.max(initial=0))[:, None] < counts[longest_first])
        caption = longest_first[row]
        first = caption * width
        forward, backward = first + step, first + counts[caption] - 1 - step
        return cls(to_device(forward, device), to_device(backward, device), np.bincount(step).tolist())


def _run_direction(
    rnn: nn.GRU | nn.LSTM, layer: int, inputs: Float[Tensor, "C T E"], order: _TimeOrder, *, backward: bool = False
) -> Float[Tensor, "C T h"]:
    """Run one direction of one layer; outputs are zero at padding."""
    assert rnn.batch_first and rnn.bias and rnn.dropout == 0, "dropout between layers is not supported"
    w_in, w_state, b_in, b_state = rnn.all_weights[layer * (2 if rnn.bidirectional else 1) + backward]
    positions = order.backward if backward else order.forward
    words = inputs.flatten(0, 1).index_select(0, positions)
    from_words = at_least_float32(functional.linear(words, w_in, b_in)).split(order.captions_at)
    steps = _lstm_steps if isinstance(rnn, nn.LSTM) else _gru_steps
    states = torch.cat(steps(from_words, w_state, b_state))
    padded = states.new_zeros(inputs.shape[0] * inputs.shape[1], rnn.hidden_size)
    return padded.index_copy(0, positions, states).unflatten(0, inputs.shape[:2])


def _gru_steps(
    from_words: Sequence[Float[Tensor, "_ g"]], w_state: Float[Tensor, "g h"], b_state: Float[Tensor, " g"]
) -> list[Float[Tensor, "_ h"]]:
    """Return the hidden states of ``nn.GRU`` after each step; gates and states are at least float32."""
    units = w_state.shape[1]
    state, states = from_words[0].new_zeros(len(from_words[0]), units), []
    for gates_in in from_words:
        state = state[: len(gates_in)]
        reset_update_in, new_in = gates_in.split([2 * units, units], dim=1)
        gates_state = at_least_float32(functional.linear(state, w_state, b_state))
        reset_update_state, new_state = gates_state.split([2 * units, units], dim=1)
        reset, update = (reset_update_in + reset_update_state).sigmoid().chunk(2, dim=1)
        state = torch.lerp(torch.addcmul(new_in, reset, new_state).tanh(), state, update)
        states.append(state)
    return states


def _lstm_steps(
    from_words: Sequence[Float[Tensor, "_ g"]], w_state: Float[Tensor, "g h"], b_state: Float[Tensor, " g"]
) -> list[Float[Tensor, "_ h"]]:
    """Return the hidden states of ``nn.LSTM`` after each step; gates and states are at least float32."""
    state = memory = from_words[0].new_zeros(len(from_words[0]), w_state.shape[1])
    states = []
    for gates_in in from_words:
        state, memory = state[: len(gates_in)], memory[: len(gates_in)]
        gates = gates_in + functional.linear(state, w_state, b_state)
        input_gate, forget_gate, new, output_gate = gates.chunk(4, dim=1)
        memory = torch.addcmul(forget_gate.sigmoid() * memory, input_gate.sigmoid(), new.tanh())
        state = output_gate.sigmoid() * memory.tanh()
        states.append(state)
    return states
