"""Chinese word segmentation with jieba or rjieba and user dictionaries."""

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tangka_match.data.captions import normalise_caption
from tangka_match.errors import DataFormatError

MAX_FREQUENCY = 1_000_000_000
_FORMAT = "one 'word', 'word frequency', 'word tag' or 'word frequency tag' per line, separated by spaces"
_TAG = re.compile("[A-Za-z]+")
_NUMBER = re.compile("[+-]?[0-9]+")

Segmenter = Callable[[str], list[str]]

# Text that both libraries segment alike. They differ at + # & . _ % - next to letters or digits, at ideographs beyond
# U+9FD5 (punctuation for jieba), and, by rounding, if a repeated character makes two segmentations equally likely:
# 串成|串|成串 or 串成|串成|串.
_SAME_IN_BOTH = re.compile(r"[\u4e00-\u9fd5A-Za-z0-9\s\u3000-\u303f\u2018-\u201d，！？：；（）!\"'(),/:;<=>?@]*")
_KEPT = re.compile(r"[\u4e00-\u9fd5A-Za-z0-9+#&._%-]")  # jieba's re_han_default
_REPEATED_NEARBY = re.compile(r"(.).{0,3}\1")


class DictionaryEntry(NamedTuple):
    """Dictionary word of the segmenter.

    Args:
        word: Word as it occurs in the text.
        frequency: Number of occurrences, >= 1, on the scale of jieba's dictionary (60 million in total); ``None`` is
            the lowest frequency at which jieba does not split the word.
        tag: Part of speech in jieba's notation, or empty; not used for segmentation.
    """

    word: str
    frequency: int | None
    tag: str


def domain_terms() -> tuple[DictionaryEntry, ...]:
    """Return the Thangka terms of the package (``resources/thangka_terms.txt``).

    >>> next(entry for entry in domain_terms() if entry.word == "结跏趺坐")
    DictionaryEntry(word='结跏趺坐', frequency=500, tag='n')
    """
    resource = files("tangka_match.data") / "resources" / "thangka_terms.txt"
    return _parse(resource.read_text(encoding="utf-8"), resource.name)


def read_user_dictionary(path: str | Path) -> tuple[DictionaryEntry, ...]:
    """Read a user dictionary in jieba's format.

    One word per line, optionally followed by a frequency and a tag. Empty lines and lines that begin with ``#`` are
    skipped. jieba always splits at characters other than U+4E00–U+9FD5, ASCII letters and digits (``·``, for example),
    so that a word with such a character is never one token.

    Args:
        path: UTF-8 text file, with or without byte order mark.

    Raises:
        DataFormatError: If the file is missing, is not UTF-8, or has an invalid line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        bad = f"byte 0x{error.object[error.start]:02x} at position {error.start}"
        raise DataFormatError(f"{path}: user dictionary is not UTF-8 ({bad}); convert it to UTF-8.") from error
    except OSError as error:
        raise DataFormatError(
            f"{path}: cannot read the user dictionary ({error.strerror}); check the paths in user_dictionaries."
        ) from error
    return _parse(text, str(path))


def splitting_characters(word: str) -> str:
    """Return the characters of a dictionary word at which jieba always splits; such a word is never one token.

    >>> splitting_characters("莲花·生"), splitting_characters("ＧＰＵ卡")
    ('·', '')
    """
    return _KEPT.sub("", normalise_caption(word))


def parse_entry(fields: list[str]) -> DictionaryEntry:
    """Convert the fields of a line to an entry.

    Raises:
        ValueError: If the fields are not a word, an optional frequency and an optional tag, in this order. Callers
            add the file and line to the message.

    >>> parse_entry(["嘎巴拉碗", "n"])
    DictionaryEntry(word='嘎巴拉碗', frequency=None, tag='n')
    """
    word, *rest = fields
    frequency, tag = None, ""
    if rest and _NUMBER.fullmatch(rest[0]):
        frequency = int(rest.pop(0)[:20])  # more digits are out of range anyway
        if not 1 <= frequency <= MAX_FREQUENCY:
            raise ValueError(f"frequency {frequency} is not between 1 and {MAX_FREQUENCY}")
    if rest and _TAG.fullmatch(rest[0]):
        tag = rest.pop(0)
    if rest:
        raise ValueError(f"{rest[0]!r} is neither a frequency nor a tag at its position")
    return DictionaryEntry(word, frequency, tag)


def _parse(text: str, source: str) -> tuple[DictionaryEntry, ...]:
    entries = []
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        try:
            entries.append(parse_entry(fields))
        except ValueError as error:
            raise DataFormatError(f"{source}, line {number}: {line.strip()!r}: {error}; expected {_FORMAT}.") from error
    return tuple(entries)


def rjieba_available() -> bool:
    """Whether the optional package ``rjieba`` is installed."""
    return find_spec("rjieba") is not None


def jieba_segmenter(entries: Sequence[DictionaryEntry], *, hmm: bool) -> Segmenter:
    """Build a segmenter from a separate jieba instance with additional words.

    Args:
        entries: Words to add in this order; existing words get the new frequency.
        hmm: Whether jieba's hidden Markov model joins characters that form no known word.
    """
    tokenizer = _load_jieba(entries)
    return lambda text: list(tokenizer.cut(text, HMM=hmm))


def rjieba_segmenter(entries: Sequence[DictionaryEntry], *, hmm: bool) -> Segmenter:
    """Build a segmenter with the output of ``jieba_segmenter``, four to six times as fast.

    Texts that the two libraries could segment differently are passed to jieba.
    """
    fast = import_module("rjieba").Jieba()
    exact: Segmenter | None = None
    if any(entry.frequency is None for entry in entries):  # jieba computes these
        loaded = _load_jieba(entries)
        entries = [entry._replace(frequency=loaded.FREQ[entry.word]) for entry in entries]
    for entry in entries:
        fast.add_word(entry.word, entry.frequency, entry.tag)

    def segment(text: str) -> list[str]:
        nonlocal exact
        if _SAME_IN_BOTH.fullmatch(text) and not _REPEATED_NEARBY.search(text):
            return list(fast.cut(text, hmm))
        if exact is None:
            exact = jieba_segmenter(entries, hmm=hmm)
        return exact(text)

    return segment


def _load_jieba(entries: Sequence[DictionaryEntry]) -> Any:
    """Load a separate ``jieba.Tokenizer``, without changing the global one or jieba's logger."""
    tokenizer = import_module("jieba").Tokenizer()
    # Not initialize(): it writes to standard error and trusts a cache file in the shared temporary folder.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    for entry in entries:
        replaced = tokenizer.FREQ.get(entry.word, 0)
        tokenizer.add_word(entry.word, entry.frequency, entry.tag or None)
        # jieba keeps the replaced frequency in its total, rjieba does not; without this, ties would differ.
        tokenizer.total -= replaced
    return tokenizer
