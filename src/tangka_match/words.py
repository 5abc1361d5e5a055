"""What the words of a vocabulary are: special tokens, or characters."""

LONGEST_WORD = 8
"""Characters that a word counts with."""


def is_special(word: str) -> bool:
    """Whether a word of a vocabulary stands in angle brackets, as ``<pad>`` and ``<unk>`` do.

    >>> is_special("<unk>"), is_special("莲花")
    (True, False)
    """
    return word.startswith("<") and word.endswith(">")


def characters_of(word: str) -> str:
    """Return the characters that a word counts with: its first `LONGEST_WORD`; a special token has none.

    >>> characters_of("<unk>"), characters_of("十一面千手千眼观音")
    ('', '十一面千手千眼观')
    """
    return "" if is_special(word) else word[:LONGEST_WORD]
