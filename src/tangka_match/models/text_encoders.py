"""Text encoders: GRU, LSTM, Transformer, and a weighted bag of words.

Axes: C captions, T tokens, N items, L positions, D joint space, E components of the input.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.models.layers import average_directions
from tangka_match.models.recurrent import run_recurrent
from tangka_match.ops import at_least_float32, l2_normalise, sinusoidal_positions
from tangka_match.types import LONGEST_WORD, Lengths, characters_of, is_special

_MIN_CAPTIONS = 2
"""Minimum number of training captions with a feature; a single occurrence may be chance."""


class TextGRU(nn.Module):
    """Word vectors, GRU whose directions are averaged, L2 normalisation: the text encoder of SCAN and SGRAF.

    Args:
        vocab_size: Number of words in the vocabulary.
        word_dim: Dimensions of a word vector.
        embed_dim: Dimensions of the joint space; units of the GRU in each direction.
        num_layers: Number of GRU layers.
        bidirectional: Whether the GRU is bidirectional.
        dropout: Dropout probability of the word vectors.
        normalise: Whether to L2-normalise the outputs.
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

    def forward(
        self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"], lengths: Lengths | None = None
    ) -> Float[Tensor, "C T D"]:
        """Encode the real words in the context of their caption; padding becomes zero."""
        states = run_recurrent(self.cap_rnn, self.dropout(self.embed(token_ids)), token_mask, lengths)
        if self.cap_rnn.bidirectional:
            states = average_directions(states)
        return l2_normalise(states) if self.normalise else states


class TextLSTM(nn.Module):
    """Word vectors and one bidirectional LSTM layer whose directions are concatenated.

    Args:
        vocab_size: Number of words in the vocabulary.
        word_dim: Dimensions of a word vector.
        lstm_dim: Units of the LSTM in each direction.
        dropout: Dropout probability of the word vectors and of the output.
    """

    def __init__(self, vocab_size: int, word_dim: int, lstm_dim: int, dropout: float | int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, word_dim)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(word_dim, lstm_dim, batch_first=True, bidirectional=True)

    def forward(
        self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"], lengths: Lengths | None = None
    ) -> Float[Tensor, "C T H"]:
        """Encode the real words, with ``H`` = 2 x ``lstm_dim``; padding becomes zero."""
        return self.dropout(run_recurrent(self.lstm, self.dropout(self.embed(token_ids)), token_mask, lengths))


class SequenceRNN(nn.Module):
    """Bidirectional GRU or LSTM whose directions are averaged, as in SCAN, SGRAF and VSE∞.

    Args:
        kind: ``nn.GRU`` or ``nn.LSTM``.
        input_dim: Dimensions of the input.
        output_dim: Units in each direction, and dimensions of the output.
        num_layers: Number of layers.
    """

    def __init__(self, kind: type[nn.GRU] | type[nn.LSTM], input_dim: int, output_dim: int, num_layers: int) -> None:
        super().__init__()
        self.rnn = kind(input_dim, output_dim, num_layers, batch_first=True, bidirectional=True)

    def forward(
        self, x: Float[Tensor, "N L E"], mask: Bool[Tensor, "N L"], lengths: Lengths | None = None
    ) -> Float[Tensor, "N L D"]:
        """Encode the real positions; padding becomes zero."""
        return average_directions(run_recurrent(self.rnn, x, mask, lengths))


class SequenceTransformer(nn.Module):
    """Linear projection and pre-norm Transformer encoder.

    Vaswani et al., arXiv 1706.03762; layer norm precedes each block as in Xiong et al., "On Layer Normalization in the
    Transformer Architecture", arXiv 2002.04745, so that training needs no long warm-up.

    Args:
        input_dim: Dimensions of the input.
        output_dim: Dimensions of the layers and of the output.
        num_heads: Number of attention heads; must divide ``output_dim``.
        num_layers: Number of layers.
        dropout: Dropout probability.
        positions: Whether to add sinusoidal position encodings; regions have no order and get none.
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

    def forward(
        self, x: Float[Tensor, "N L E"], mask: Bool[Tensor, "N L"], lengths: Lengths | None = None
    ) -> Float[Tensor, "N L D"]:
        """Encode the real positions; masked positions become zero, and ``lengths`` are not needed."""
        states = self.project(x)
        if self.positions:
            states = states + sinusoidal_positions(states.shape[1], states.shape[2], states.device).to(states.dtype)
        return self.layers(states, src_key_padding_mask=~mask).masked_fill(~mask[:, :, None], 0)


class WordBag(nn.Module):
    """Bag of words, characters and character bigrams, weighted by inverse document frequency.

    Feature ``w`` is word ``w``; feature ``vocab_size + h`` stands for all characters and bigrams with hash ``h``
    (Weinberger et al., "Feature Hashing", arXiv 0902.2206). Characters let related words such as 白度母 and 绿度母
    share features, and make the bag robust to a different segmentation. Unknown words have no characters. Special
    tokens, and features of fewer than two training captions, get a weight of zero.

    Args:
        vocab_size: Number of words in the vocabulary.
        num_hashes: Number of hash values for characters and bigrams.
    """

    weight: Tensor
    characters: Tensor

    def __init__(self, vocab_size: int, num_hashes: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.num_hashes = num_hashes
        self.register_buffer("weight", torch.ones(vocab_size + num_hashes))
        self.register_buffer("characters", torch.zeros(vocab_size, LONGEST_WORD, dtype=torch.int64))

    def forward(
        self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]
    ) -> tuple[Int[Tensor, "C P"], Float[Tensor, "C P"]]:
        """Return feature indices and weights; the weights of a caption have an L2 norm of one.

        A feature that occurs twice is listed twice. Padding, and captions without a known word, have weights of zero.
        """
        # In training the host does not wait for the number of characters, and reads all places of the words.
        trim = torch.is_inference_mode_enabled()
        return self._weigh(*self.features(token_ids, token_mask, trim=trim))

    def _weigh(
        self, features: Int[Tensor, "C P"], present: Bool[Tensor, "C P"]
    ) -> tuple[Int[Tensor, "C P"], Float[Tensor, "C P"]]:
        weights = self.weight[features] * present
        norms = torch.linalg.vector_norm(at_least_float32(weights), dim=1, keepdim=True)
        return features, weights / norms.clamp(min=1e-6)

    def features(
        self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"], *, trim: bool
    ) -> tuple[Int[Tensor, "C P"], Bool[Tensor, "C P"]]:
        """Return the indices of words, then characters, then bigrams of each caption, and a mask of the real ones.

        Args:
            token_ids: Token ids.
            token_mask: ``True`` where a token is real.
            trim: Whether to remove the places that no caption fills.
        """
        codes = self.characters[token_ids].masked_fill(~token_mask[:, :, None], 0).flatten(1)
        # Close the gaps, so that bigrams span neighbouring words.
        width = codes.shape[1]
        places = torch.arange(width, device=codes.device)  # keys that differ: ONNX has no stable sort
        codes = codes.gather(1, torch.where(codes == 0, places + width, places).argsort(dim=1))
        if trim:
            codes = codes[:, : int((codes > 0).sum(dim=1).max())]
        pairs = codes[:, :-1] * 65_537 + codes[:, 1:] + 1_114_112  # above all characters' codes
        hashed = torch.cat([codes, pairs], dim=1) * 1_000_003 % 2_147_483_647 % self.num_hashes
        real = torch.cat([token_mask, codes > 0, codes[:, 1:] > 0], dim=1)
        return torch.cat([token_ids, self.vocab_size + hashed], dim=1), real

    @torch.no_grad()
    def fit(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"], words: Sequence[str]) -> Tensor:
        """Set characters and weights from the training captions; return these as a sparse matrix (C, features).

        Args:
            token_ids: Tokens of the training captions.
            token_mask: ``True`` where a token is real.
            words: Words of the vocabulary by id; those in angle brackets are special tokens.
        """
        for row, word in enumerate(words):
            codes = [ord(character) for character in characters_of(word)]
            self.characters[row] = torch.tensor(codes + [0] * (LONGEST_WORD - len(codes)))
        features, present = self.features(token_ids, token_mask, trim=True)
        rows = torch.arange(len(features))[:, None].expand_as(features)
        once = torch.stack([rows[present], features[present]]).unique(dim=1)
        counts = torch.bincount(once[1], minlength=len(self.weight))
        idf = math.log(len(features)) - counts.clamp(min=1).log()
        special = torch.tensor([is_special(word) for word in words])
        idf[: len(words)].masked_fill_(special, 0.0)
        self.weight.copy_(idf.masked_fill(counts < _MIN_CAPTIONS, 0.0))
        features, weights = self._weigh(features, present)
        index = torch.stack([rows.flatten(), features.flatten()])
        size = (len(features), len(self.weight))
        return torch.sparse_coo_tensor(index, weights.flatten(), size, check_invariants=True).coalesce()
