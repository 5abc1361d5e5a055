"""Word pieces of a pretrained model, in the order of our vocabularies."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Self

from tangka_match.errors import ConfigError
from tangka_match.hub.source import library, read, read_config

SPECIALS = 4
"""Number of special pieces: padding, start, end, unknown."""
CHINESE_CLIP_TOKENS = 52
"""``context_length`` of OFA-Sys/Chinese-CLIP; later positions are untrained."""


class WordPieces:
    """Word-piece segmentation of a pretrained model, with ids mapped to the rows of its embedding.

    Our ids 0 to 3 are its padding, start ([CLS]), end ([SEP]) and unknown piece; the others follow in its order.

    Args:
        definition: Content of ``tokenizer.json``: normalisation, rules, pieces.
        specials: Padding, start, end and unknown piece.
        max_tokens: Maximum number of pieces per caption, including start and end.

    Raises:
        ConfigError: If the definition is damaged or lacks a special piece.
    """

    def __init__(self, definition: str, specials: Sequence[str], max_tokens: int) -> None:
        library()  # raises if transformers is not installed
        try:
            self._cutter: Any = import_module("tokenizers").Tokenizer.from_str(definition)
        except Exception as error:  # the Rust library raises a bare Exception
            raise ConfigError(f"the definition of the word pieces cannot be read ({error})") from error
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
        """Read the word pieces of a model.

        Args:
            source: Folder of the model, or its name on the hub.

        Raises:
            ConfigError: If they cannot be read.
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
        """Split a text into pieces, without start and end."""
        return self._cutter.encode(text, add_special_tokens=False).tokens
