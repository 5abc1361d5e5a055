"""Captions to the word pieces of a pretrained model."""

from collections.abc import Mapping
from typing import Any, Self

from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import ConfigError
from tangka_match.hub import SPECIALS, WordPieces

_KEYS = {"name", "definition", "specials", "max_tokens"}


class PieceTokenizer:
    """Cuts captions as a pretrained text encoder was trained: for Chinese, mostly into characters.

    The whole vocabulary of the model is kept, also the pieces that no training caption has: they are pretrained, and a
    test caption may have them. Captions longer than the model reads are cut, and the number of those is a warning.
    Cutting was chosen over windows whose vectors are averaged: a window that begins in the middle of a sentence is text
    such as the encoder never saw, and the average would no longer be the vector that its pretraining gave a meaning;
    Thangka captions are shorter than either limit (512 pieces for BERT, 52 for Chinese-CLIP).

    Args:
        source: The model's folder, or its name on the Hugging Face hub.

    Raises:
        ConfigError: The model's vocabulary cannot be read, or transformers is not installed.
    """

    def __init__(self, source: str) -> None:
        self._pieces = WordPieces.read(source)
        self.vocabulary = Vocabulary(self._pieces.words)

    @property
    def max_tokens(self) -> int:
        """Most pieces of a caption that the model reads, start and end included."""
        return self._pieces.max_tokens

    def __call__(self, text: str) -> list[str]:
        """Pieces of a caption, in order, without start and end."""
        return self._pieces.cut(text)

    def settings(self) -> dict[str, Any]:
        """All that decides the output, as plain values; the pieces are inside."""
        pieces = self._pieces
        return {
            "name": "pieces",
            "definition": pieces.definition,
            "specials": list(pieces.specials),
            "max_tokens": pieces.max_tokens,
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Rebuild a tokenizer from ``settings()``; needs no file.

        Raises:
            ConfigError: A setting is missing, unknown, or of the wrong kind, or transformers is not installed.
        """
        if set(settings) != _KEYS:
            raise ConfigError(f"tokenizer settings are {sorted(settings)}, expected exactly {sorted(_KEYS)}.")
        match settings:
            case {"definition": str(definition), "specials": [*specials], "max_tokens": int(max_tokens)} if (
                all(isinstance(piece, str) for piece in specials) and len(specials) == SPECIALS
            ):
                tokenizer = cls.__new__(cls)
                tokenizer._pieces = WordPieces(definition, specials, max_tokens)
                tokenizer.vocabulary = Vocabulary(tokenizer._pieces.words)
                return tokenizer
        raise ConfigError(
            "tokenizer settings: definition must be text, specials four texts, max_tokens a whole number."
        )
