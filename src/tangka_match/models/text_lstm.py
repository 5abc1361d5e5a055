"""Words in the light of their caption, by a bidirectional LSTM."""

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.models.masked_rnn import run_masked


class TextLSTM(nn.Module):
    """Word vectors and one bidirectional LSTM layer; the two directions are concatenated.

    Args:
        vocab_size: Words in the vocabulary.
        word_dim: Dimensions of a word vector.
        lstm_dim: Units of the LSTM in each direction.
        dropout: Probability to drop a component of a word vector and of the output.
    """

    def __init__(self, vocab_size: int, word_dim: int, lstm_dim: int, dropout: float | int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, word_dim)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(word_dim, lstm_dim, batch_first=True, bidirectional=True)

    def forward(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Float[Tensor, "C T H"]:
        """Encode the real words with ``H`` = 2 x ``lstm_dim`` components each; padding becomes zero."""
        return self.dropout(run_masked(self.lstm, self.dropout(self.embed(token_ids)), token_mask))
