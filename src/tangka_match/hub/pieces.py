"""The word pieces of a pretrained model, in the order of our vocabularies."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Self

from tangka_match.errors import ConfigError
from tangka_match.hub.source import library, read, read_config

SPECIALS = 4
CHINESE_CLIP_TOKENS = 52
"""What Chinese-CLIP was trained with (``context_length`` of OFA-Sys/Chinese-CLIP); later positions are untrained."""


class WordPieces:
    """How a pretrained model cuts text, and which row of its embedding each of our ids is.

    Our ids 0 to 3 are its padding, start ([CLS]), end ([SEP]) and unknown piece; the others follow in its own order.

    Args:
        definition: ``tokenizer.json``, as text: normalisation, rules, pieces.
        specials: Its padding, start, end and unknown piece.
        max_tokens: Most pieces of a caption that the model reads, start and end included.

    Raises:
        ConfigError: The definition is damaged or lacks a special piece.
    """

    def __init__(self, definition: str, specials: Sequence[str], max_tokens: int) -> None:
        library()  # says what to install
        try:
            self._cutter: Any = import_module("tokenizers").Tokenizer.from_str(definition)
        except Exception as error:  # of the Rust library: a bare Exception
            raise ConfigError(f"the definition of the word pieces is damaged ({error})") from error
        self._cutter.no_padding()
        self._cutter.no_truncation()
        self.definition = definition
        self.specials = tuple(specials)
        self.max_tokens = max_tokens
        ids: dict[str, int] = self._cutter.get_vocab(with_added_tokens=True)
        missing = [piece for piece in self.specials if piece not in ids]
        if len(self.specials) != SPECIALS or missing:
            raise ConfigError(
                f"the special pieces are {list(specials)}; four that exist are needed, not found: {missing}"
            )
        ordinary = sorted((index, piece) for piece, index in ids.items() if piece not in self.specials)
        self.words = tuple(piece for _, piece in ordinary)
        self.rows = (*(ids[piece] for piece in self.specials), *(index for index, _ in ordinary))

    @classmethod
    def read(cls, source: str) -> Self:
        """Read the vocabulary of a model.

        Args:
            source: A folder, or a name on the hub.

        Raises:
            ConfigError: It cannot be read.
        """
        config = read_config(source)
        found = read(source, "vocab.txt", library().AutoTokenizer.from_pretrained)
        specials = [found.pad_token, found.cls_token, found.sep_token, found.unk_token]
        text_config = config.get("text_config", config)
        limit = (
            CHINESE_CLIP_TOKENS if config["model_type"] == "chinese_clip" else text_config["max_position_embeddings"]
        )
        return cls(
            found.backend_tokenizer.to_str(),
            [str(piece) for piece in specials],
            min(limit, text_config["max_position_embeddings"]),
        )

    def cut(self, text: str) -> list[str]:
        """Pieces of a text, in order, without start and end."""
        return self._cutter.encode(text, add_special_tokens=False).tokens
