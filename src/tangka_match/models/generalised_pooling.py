"""GPO: pooling that learns how much the largest, the second largest, … value of a dimension counts."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.models.masked_rnn import average_directions, run_masked
from tangka_match.ops import at_least_float32, sinusoidal_positions

_TEMPERATURE = 0.1
"""Divides the scores of the ranks, as in the authors' code."""


class GeneralisedPooling(nn.Module):
    r"""The generalised pooling operator of VSE∞, in which mean, maximum and k-max are special cases.

    Every dimension is sorted on its own, the largest value first, and the values are summed with weights
    :math:`\theta_1 \dots \theta_L` that depend on rank and length alone: a small BiGRU reads the sinusoidal codes of
    the ranks :math:`1 \dots L`, a linear layer scores each, and a softmax makes weights of the scores. Chen et al.,
    "Learning the Best Pooling Strategy for Visual Semantic Embedding", arXiv 2011.04305, equations 4 to 6. Codes have
    no last position, so sequences may be longer than any in training.

    Args:
        code_dim: Components of a rank's code; the paper has 32.
        hidden_dim: Units of the GRU in each direction; the paper has 32.
    """

    def __init__(self, code_dim: int = 32, hidden_dim: int = 32) -> None:
        super().__init__()
        self.rank_rnn = nn.GRU(code_dim, hidden_dim, batch_first=True, bidirectional=True)
        self.score = nn.Linear(hidden_dim, 1, bias=False)

    def forward(self, x: Float[Tensor, "N L D"], mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N D"]:
        """Pool the real positions of every sequence; zeros where there are none. The result is at least float32."""
        lengths, which = mask.sum(dim=1).clamp(min=1).unique(return_inverse=True)
        weights = self.weights(lengths)[which]
        longest = weights.shape[1]
        wide = at_least_float32(x)
        lowest = torch.finfo(wide.dtype).min
        ordered = wide.masked_fill(~mask[:, :, None], lowest).sort(dim=1, descending=True).values[:, :longest]
        real = torch.arange(longest, device=x.device) < mask.sum(dim=1, keepdim=True)
        return (weights[:, None, :].to(wide.dtype) @ ordered.masked_fill(~real[:, :, None], 0)).squeeze(1)

    def weights(self, lengths: Int[Tensor, " N"]) -> Float[Tensor, "N L"]:
        """Weights of the ranks of sequences of these lengths, at least 1; they add up to one, and are 0 beyond."""
        longest = int(lengths.max())
        codes = sinusoidal_positions(longest, self.rank_rnn.input_size, lengths.device).to(self.score.weight.dtype)
        real = torch.arange(longest, device=lengths.device) < lengths[:, None]
        states = average_directions(run_masked(self.rank_rnn, codes.expand(len(lengths), -1, -1), real))
        scores = at_least_float32(self.score(states).squeeze(2)) / _TEMPERATURE
        return scores.masked_fill(~real, float("-inf")).softmax(dim=1)
