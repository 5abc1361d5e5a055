"""Pooling modules, which map a sequence of vectors to one vector, and the head of VSE.

Axes: N items, L positions, P components of the input, D components of the output.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from tangka_match.models.layers import average_directions
from tangka_match.models.recurrent import run_recurrent
from tangka_match.ops import (
    at_least_float32,
    attention_pool,
    k_max_pool,
    l2_normalise,
    masked_max,
    masked_mean,
    sinusoidal_positions,
    to_device,
)
from tangka_match.types import Lengths

POOLINGS = ("mean", "max", "k_max", "gpo")
_TEMPERATURE = 0.1
"""Divisor of the scores of the ranks, as in the authors' code."""


class AttentionPooling(nn.Module):
    """Attention pooling: mean of the positions, weighted by the softmax of the scores of a small network.

    Lin et al., "A Structured Self-attentive Sentence Embedding", arXiv 1703.03130, with one attention head.

    Args:
        input_dim: Dimensions of the vectors.
        hidden_dim: Hidden units of the scoring network.
    """

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(input_dim, hidden_dim), nn.Tanh(), nn.Linear(hidden_dim, 1, bias=False))

    def forward(self, x: Float[Tensor, "N L P"], mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N P"]:
        """Pool the real positions of each sequence; ``P`` is ``input_dim``."""
        return attention_pool(x, self.score(x).squeeze(2), mask)


class GeneralisedPooling(nn.Module):
    r"""Generalised pooling operator (GPO) of VSE∞; mean, max and k-max pooling are special cases.

    Each dimension is sorted in descending order, and its values are summed with weights :math:`\theta_1 \dots
    \theta_L`, which depend on rank and length only: a BiGRU reads sinusoidal position encodings of the ranks, a linear
    layer scores them, and a softmax normalises the scores. Chen et al., "Learning the Best Pooling Strategy for Visual
    Semantic Embedding", arXiv 2011.04305, equations 4 to 6. Sequences may be longer than in training.

    Args:
        code_dim: Components of a position encoding; 32 in the paper.
        hidden_dim: Units of the GRU in each direction; 32 in the paper.
    """

    def __init__(self, code_dim: int = 32, hidden_dim: int = 32) -> None:
        super().__init__()
        self.rank_rnn = nn.GRU(code_dim, hidden_dim, batch_first=True, bidirectional=True)
        self.score = nn.Linear(hidden_dim, 1, bias=False)

    def forward(self, x: Float[Tensor, "N L D"], mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N D"]:
        """Pool the real positions of each sequence, in at least float32; sequences without any give zeros."""
        counts, longest = mask.sum(dim=1), x.shape[1]
        if torch.onnx.is_in_onnx_export():  # the graph takes sequences of any length
            weights = self._rank_weights(torch.arange(longest) < counts.clamp(min=1)[:, None])
        else:
            # The weights of all lengths: which ones occur is not known on the host.
            weights = self.weights(tuple(range(1, longest + 1))).index_select(0, counts.clamp(min=1) - 1)
        wide = at_least_float32(x)
        lowest = torch.finfo(wide.dtype).min
        ordered = wide.masked_fill(~mask[:, :, None], lowest).sort(dim=1, descending=True).values
        real = torch.arange(longest, device=x.device) < counts[:, None]
        return (weights[:, None, :].to(wide.dtype) @ ordered.masked_fill(~real[:, :, None], 0)).squeeze(1)

    def weights(self, lengths: Lengths) -> Float[Tensor, "N L"]:
        """Compute the weights of the ranks for lengths of at least 1; rows sum to one and are 0 past the length."""
        device = self.score.weight.device
        real = torch.arange(max(lengths), device=device) < to_device(np.array(lengths), device)[:, None]
        return self._rank_weights(real, lengths)

    def _rank_weights(self, real: Bool[Tensor, "N L"], lengths: Lengths | None = None) -> Float[Tensor, "N L"]:
        weight = self.score.weight
        codes = sinusoidal_positions(real.shape[1], self.rank_rnn.input_size, weight.device).to(weight.dtype)
        states = average_directions(run_recurrent(self.rank_rnn, codes.expand(real.shape[0], -1, -1), real, lengths))
        scores = at_least_float32(self.score(states).squeeze(2)) / _TEMPERATURE
        return scores.masked_fill(~real, float("-inf")).softmax(dim=1)


class FixedPooling(nn.Module):
    """Pooling without parameters.

    Args:
        function: Maps ``x`` (N, L, D) and ``mask`` (N, L) to (N, D).
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Float[Tensor, "N L D"], mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N D"]:
        """Pool the real positions of each sequence."""
        return self.function(x, mask)


def build_pooling(name: str, k: int) -> nn.Module:
    """Build one of ``POOLINGS``; ``k_max`` averages the ``k`` largest values of each dimension."""
    if name == "gpo":
        return GeneralisedPooling()
    functions: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "mean": masked_mean,
        "max": masked_max,
        "k_max": partial(k_max_pool, k=k),
    }
    return FixedPooling(functions[name])


class PooledHead(nn.Module):
    """Feed-forward head on pooled vectors, with residual connection, layer norm and L2 normalisation.

    It holds most parameters of a model, but little of its computation, since it runs once per image or caption.

    Args:
        input_dim: Dimensions of the pooled vectors.
        hidden_dim: Hidden units.
        output_dim: Dimensions of the joint space.
        dropout: Probability to drop a hidden unit.
    """

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, dropout: float | int) -> None:
        super().__init__()
        self.skip = nn.Identity() if input_dim == output_dim else nn.Linear(input_dim, output_dim)
        self.expand = nn.Linear(input_dim, hidden_dim)
        self.contract = nn.Linear(hidden_dim, output_dim)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(output_dim)

    def forward(self, pooled: Float[Tensor, "N P"]) -> Float[Tensor, "N D"]:
        """Map pooled vectors of ``P`` = ``input_dim`` components to L2-normalised vectors, in at least float32."""
        hidden = self.dropout(functional.gelu(self.expand(pooled)))
        return l2_normalise(at_least_float32(self.norm(self.skip(pooled) + self.contract(hidden))))
