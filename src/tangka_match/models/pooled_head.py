"""A feed-forward network on pooled vectors."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tangka_match.ops import at_least_float32, l2_normalise


class PooledHead(nn.Module):
    """Feed-forward network with a residual path and layer norm, then L2 normalisation, on one vector an item.

    It holds most of a model's parameters and costs next to nothing, since it runs once an item and not once a region
    or word.

    Args:
        input_dim: Dimensions of the pooled vectors.
        hidden_dim: Units of the hidden layer.
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
        """Map pooled vectors of ``P`` = ``input_dim`` components to unit vectors of the joint space, in float32."""
        hidden = self.dropout(functional.gelu(self.expand(pooled)))
        return l2_normalise(at_least_float32(self.norm(self.skip(pooled) + self.contract(hidden))))
