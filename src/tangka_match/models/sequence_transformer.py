"""Vectors in the light of their sequence, by a Transformer encoder."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.ops import sinusoidal_positions


class SequenceTransformer(nn.Module):
    """A linear layer, then Transformer layers with residual paths and layer norm before each part, and one at the end.

    Vaswani et al., arXiv 1706.03762; the norm comes first as in Xiong et al., "On Layer Normalization in the
    Transformer Architecture", arXiv 2002.04745, which trains without a long warm-up.

    Args:
        input_dim: Dimensions of a position's input.
        output_dim: Dimensions of the layers and of the output.
        num_heads: Attention heads; must divide ``output_dim``.
        num_layers: Layers.
        dropout: Probability to drop a unit.
        positions: Whether the order counts: sinusoidal codes, so that any length has them. Regions have no order.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        num_heads: int,
        num_layers: int,
        dropout: float | int,
        positions: bool,
    ) -> None:
        super().__init__()
        self.positions = positions
        self.project = nn.Linear(input_dim, output_dim)
        layer = nn.TransformerEncoderLayer(
            output_dim, num_heads, 4 * output_dim, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers, nn.LayerNorm(output_dim), enable_nested_tensor=False)

    def forward(self, x: Float[Tensor, "N L E"], mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N L D"]:
        """Encode the real positions; the others become zero."""
        states = self.project(x)
        if self.positions:
            states = states + sinusoidal_positions(states.shape[1], states.shape[2], states.device).to(states.dtype)
        return self.layers(states, src_key_padding_mask=~mask).masked_fill(~mask[:, :, None], 0)
