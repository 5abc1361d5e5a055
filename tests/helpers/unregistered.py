"""A matcher and a tokenizer that are not registered."""

from typing import Any

from tangka_match.models import VSE


class OtherVSE(VSE):
    """`VSE` under another name."""


class Letters:
    """Splits captions into letters; ignores the settings of the jieba tokenizer."""

    vocabulary = None
    max_tokens = None

    def __init__(self, domain_dictionary: bool = True, user_dictionaries: tuple[str, ...] = ()) -> None:
        pass

    def __call__(self, text: str) -> list[str]:
        return list(text)

    def settings(self) -> dict[str, Any]:
        return {"name": "letters"}
