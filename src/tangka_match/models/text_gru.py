"""Words into the joint space, as SGRAF does it."""

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.models.masked_rnn import average_directions, run_masked
from tangka_match.ops import l2_normalise


class TextGRU(nn.Module):
    """Word vectors, a GRU with ``embed_dim`` units a direction, L2 normalisation: SCAN's and SGRAF's text encoder.

    The two directions are averaged, not concatenated.

    Args:
        vocab_size: Words in the vocabulary.
        word_dim: Dimensions of a word vector.
        embed_dim: Dimensions of the joint space.
        num_layers: Layers of the GRU.
        bidirectional: Whether the GRU reads both ways.
        dropout: Probability to drop a component of a word vector.
        normalise: Whether to L2-normalise the words.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        word_dim: int,
        embed_dim: int,
        num_layers: int,
        bidirectional: bool,
        dropout: float | int,
        normalise: bool,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.embed = nn.Embedding(vocab_size, word_dim)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        self.dropout = nn.Dropout(dropout)
        self.cap_rnn = nn.GRU(word_dim, embed_dim, num_layers, batch_first=True, bidirectional=bidirectional)

    def forward(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Float[Tensor, "C T D"]:
        """Embed the real words in the light of their caption; padding becomes zero."""
        states = run_masked(self.cap_rnn, self.dropout(self.embed(token_ids)), token_mask)
        if self.cap_rnn.bidirectional:
            states = average_directions(states)
        return l2_normalise(states) if self.normalise else states
