"""A tokenizer that is not registered."""

from typing import Any


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
