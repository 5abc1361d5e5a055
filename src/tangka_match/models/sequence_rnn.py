"""Vectors in the light of their sequence, by a recurrent network in both directions."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.models.masked_rnn import average_directions, run_masked


class SequenceRNN(nn.Module):
    """A bidirectional GRU or LSTM whose two directions are averaged, as in SCAN, SGRAF and VSE∞.

    Args:
        kind: ``nn.GRU`` or ``nn.LSTM``.
        input_dim: Dimensions of a position's input.
        output_dim: Units in each direction, and dimensions of the output.
        num_layers: Layers.
    """

    def __init__(self, kind: type[nn.GRU] | type[nn.LSTM], input_dim: int, output_dim: int, num_layers: int) -> None:
        super().__init__()
        self.rnn = kind(input_dim, output_dim, num_layers, batch_first=True, bidirectional=True)

    def forward(self, x: Float[Tensor, "N L E"], mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N L D"]:
        """Encode the real positions; padding becomes zero."""
        return average_directions(run_masked(self.rnn, x, mask))
