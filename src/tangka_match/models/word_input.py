"""Input of a text encoder: word vectors, optionally with character vectors."""

from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.ops import masked_mean
from tangka_match.types import LONGEST_WORD, WordVectors, characters_of

_NO_CHARACTER, _RARE_CHARACTER = 0, 1


class WordInput(nn.Module):
    """Word vectors, concatenated with the mean vector of the word's characters.

    Word vectors are random, or pretrained after `learn_words`; ``training.lr_multipliers`` can lower their learning
    rate. Characters let related words such as 白度母 and 绿度母 share parameters. `learn_words` numbers the characters
    of the vocabulary by frequency; before that, no word has any. The numbers are a buffer, so that a checkpoint loads
    without the vocabulary or the vector file.

    Args:
        vocab_size: Number of words in the vocabulary.
        word_dim: Dimensions of a word vector.
        character_dim: Dimensions of a character vector; 0 = words only.
        num_characters: Number of characters with a vector of their own; rarer ones share one.
        dropout: Dropout probability of the output.
    """

    characters: Tensor

    def __init__(
        self,
        vocab_size: int,
        *,
        word_dim: int,
        character_dim: int,
        num_characters: int,
        dropout: float | int,
    ) -> None:
        super().__init__()
        self.output_dim = word_dim + character_dim
        self.word_vectors = nn.Embedding(vocab_size, word_dim)
        nn.init.uniform_(self.word_vectors.weight, -0.1, 0.1)
        self.character_vectors = None
        if character_dim > 0:
            self.register_buffer("characters", torch.zeros(vocab_size, LONGEST_WORD, dtype=torch.int64))
            self.character_vectors = nn.Embedding(num_characters + 2, character_dim)
            nn.init.uniform_(self.character_vectors.weight, -0.1, 0.1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, token_ids: Int[Tensor, "C T"]) -> Float[Tensor, "C T E"]:
        """Look up tokens; ``E`` = ``word_dim`` + ``character_dim``, with zeros for words without characters."""
        vectors = self.word_vectors(token_ids)
        if self.character_vectors is not None:
            codes = self.characters[token_ids].flatten(0, 1)
            pooled = masked_mean(self.character_vectors(codes), codes != _NO_CHARACTER)
            vectors = torch.cat([vectors, pooled.unflatten(0, token_ids.shape)], dim=2)
        return self.dropout(vectors)

    @torch.no_grad()
    def learn_words(self, words: Sequence[str], pretrained: WordVectors | None) -> None:
        """Number the characters of the words, and initialise word vectors from pretrained ones.

        A character that already has a number, as after ``init_from``, keeps it and its vector. Words without a
        pretrained vector are initialised at random with the standard deviation of the others.

        Args:
            words: Words of the vocabulary by id; those in angle brackets are special tokens without characters.
            pretrained: Vectors of these words; ``None`` leaves word vectors as they are.

        Raises:
            ConfigError: If the vectors do not have ``word_dim`` dimensions.
        """
        if self.character_vectors is not None:
            self._number_characters(words)
        if pretrained is None:
            return
        dim, own = pretrained.vectors.shape[1], self.word_vectors.embedding_dim
        if dim != own:
            raise ConfigError(
                f"model.word_dim={own}, but the vectors of data.word_vectors_path have {dim} dimensions; "
                f"set model.word_dim={dim}"
            )
        known = pretrained.vectors[pretrained.known]
        self.word_vectors.weight.normal_(std=known.std().item())
        self.word_vectors.weight[pretrained.known] = known

    def _number_characters(self, words: Sequence[str]) -> None:
        assert self.character_vectors is not None
        plain = [characters_of(word) for word in words]
        counts = Counter(character for word in plain for character in dict.fromkeys(word))
        numbers = {
            character: code
            for word, codes in zip(plain, self.characters.tolist(), strict=True)
            for character, code in zip(word, codes, strict=False)  # codes are padded
            if code > _RARE_CHARACTER
        }
        free = sorted(set(range(2, self.character_vectors.num_embeddings)) - set(numbers.values()))
        new = [character for character, _ in counts.most_common() if character not in numbers]
        numbers |= dict(zip(new, free, strict=False))  # the rarest may get none
        self.characters.fill_(_NO_CHARACTER)
        for row, word in enumerate(plain):
            for column, character in enumerate(word):
                self.characters[row, column] = numbers.get(character, _RARE_CHARACTER)
