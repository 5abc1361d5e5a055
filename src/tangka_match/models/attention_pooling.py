"""Pooling with learnt weights."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.ops import attention_pool


class AttentionPooling(nn.Module):
    """Weighted mean of a sequence; a small network scores each position, the softmax of the scores weighs it.

    Lin et al., "A Structured Self-attentive Sentence Embedding", arXiv 1703.03130, with one attention head.

    Args:
        input_dim: Dimensions of a position's vector.
        hidden_dim: Units of the scoring network.
    """

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(input_dim, hidden_dim), nn.Tanh(), nn.Linear(hidden_dim, 1, bias=False))

    def forward(self, x: Float[Tensor, "N L P"], mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N P"]:
        """Pool the real positions of every sequence; ``P`` is ``input_dim``."""
        return attention_pool(x, self.score(x).squeeze(2), mask)
