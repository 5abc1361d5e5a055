"""What the data module asks of a tokenizer, and from the settings in a checkpoint back to one."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tangka_match.data.piece_tokenizer import PieceTokenizer
from tangka_match.data.tokenizer import JiebaTokenizer
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import ConfigError


class CaptionTokenizer(Protocol):
    """Cuts captions; ``settings()`` is all that it takes to build it again, as plain values."""

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary that belongs to it; ``None`` where one is built from the captions."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """Most tokens of a caption that its model reads, sentinels included; ``None`` for any number."""
        ...

    def __call__(self, text: str) -> list[str]:
        """Words of a caption, in order."""
        ...

    def settings(self) -> dict[str, Any]:
        """All that decides the output."""
        ...


def tokenizer_from_settings(settings: Mapping[str, Any]) -> CaptionTokenizer:
    """Rebuild a tokenizer; needs no file.

    Raises:
        ConfigError: There is no such tokenizer, or a setting is missing, unknown, or of the wrong kind.
    """
    readers: dict[str, Callable[[Mapping[str, Any]], CaptionTokenizer]] = {
        "jieba": JiebaTokenizer.from_settings,
        "pieces": PieceTokenizer.from_settings,
    }
    name = settings.get("name")
    if not isinstance(name, str) or name not in readers:
        raise ConfigError(f"tokenizer settings have name={name!r}; known are {', '.join(readers)}.")
    return readers[name](settings)
