"""Chinese word segmentation by jieba or rjieba, with user dictionaries."""

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tangka_match.errors import DataFormatError

MAX_FREQUENCY = 1_000_000_000
_FORMAT = "one 'word', 'word frequency', 'word tag' or 'word frequency tag' a line, separated by spaces"
_TAG = re.compile("[A-Za-z]+")
_NUMBER = re.compile("[+-]?[0-9]+")


class DictionaryEntry(NamedTuple):
    """A word that the segmenter shall know.

    Args:
        word: The word as it stands in the text.
        frequency: How often it occurs, on the scale of jieba's own dictionary (60 million in all), at least 1;
            ``None`` lets jieba take the lowest frequency that keeps the word whole on its own.
        tag: Part of speech, as jieba names it; empty where unknown. It has no influence on segmentation.
    """

    word: str
    frequency: int | None
    tag: str


def domain_terms() -> tuple[DictionaryEntry, ...]:
    """The terms of Thangka painting that come with the package (``resources/thangka_terms.txt``).

    >>> next(entry for entry in domain_terms() if entry.word == "结跏趺坐")
    DictionaryEntry(word='结跏趺坐', frequency=500, tag='n')
    """
    resource = files("tangka_match.data") / "resources" / "thangka_terms.txt"
    return _parse(resource.read_text(encoding="utf-8"), resource.name)


def read_user_dictionary(path: str | Path) -> tuple[DictionaryEntry, ...]:
    """Read a user dictionary in jieba's format.

    One word a line, optionally followed by a frequency and a tag. Empty lines and lines that begin with ``#`` are
    skipped. jieba always cuts at punctuation, ``·`` included, and at characters outside U+4E00–U+9FD5, ASCII letters
    and digits; a word that holds such a character never comes out whole.

    Args:
        path: A UTF-8 text file, with or without byte order mark.

    Raises:
        DataFormatError: The file is missing, is not UTF-8, or holds a line of another form.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        bad = f"byte 0x{error.object[error.start]:02x} at position {error.start}"
        raise DataFormatError(f"{path}: user dictionary is not UTF-8 ({bad}); save it again as UTF-8.") from error
    except OSError as error:
        raise DataFormatError(
            f"{path}: cannot read the user dictionary ({error.strerror}); check the paths in user_dictionaries."
        ) from error
    return _parse(text, str(path))


def parse_entry(fields: list[str]) -> DictionaryEntry:
    """Make an entry of the fields of a line.

    Raises:
        ValueError: The fields are not a word, an optional frequency and an optional tag, in this order. The message
            says what is wrong, but not where; callers add the place.

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
        raise ValueError(f"{rest[0]!r} is neither a frequency nor a tag in its place")
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


Segmenter = Callable[[str], list[str]]

# Where both libraries cut alike. They part at + # & . _ % - next to letters or digits, at ideographs beyond U+9FD5
# (jieba takes them for punctuation), and, by the last bit of a sum, where a character that soon comes again makes two
# cuts equally likely: 串成|串|成串 or 串成|串成|串.
_SAME_IN_BOTH = re.compile(r"[\u4e00-\u9fd5A-Za-z0-9\s\u3000-\u303f\u2018-\u201d，！？：；（）!\"'(),/:;<=>?@]*")
_SOON_AGAIN = re.compile(r"(.).{0,3}\1")


def rjieba_available() -> bool:
    """Whether the optional package ``rjieba`` is installed."""
    return find_spec("rjieba") is not None


def jieba_segmenter(entries: Sequence[DictionaryEntry], *, hmm: bool) -> Segmenter:
    """A segmenter of its own jieba instance, with the given words added to jieba's dictionary.

    Args:
        entries: Words to add, in this order; a word that jieba knows gets the new frequency.
        hmm: Whether characters that form no known word are joined by jieba's hidden Markov model.
    """
    tokenizer = _load_jieba(entries)
    return lambda text: list(tokenizer.cut(text, HMM=hmm))


def rjieba_segmenter(entries: Sequence[DictionaryEntry], *, hmm: bool) -> Segmenter:
    """The output of ``jieba_segmenter``, four to six times as fast: jieba only where the two could differ."""
    fast = import_module("rjieba").Jieba()
    exact: Segmenter | None = None
    if any(entry.frequency is None for entry in entries):  # jieba chooses those
        loaded = _load_jieba(entries)
        entries = [entry._replace(frequency=loaded.FREQ[entry.word]) for entry in entries]
    for entry in entries:
        fast.add_word(entry.word, entry.frequency, entry.tag)

    def segment(text: str) -> list[str]:
        nonlocal exact
        if _SAME_IN_BOTH.fullmatch(text) and not _SOON_AGAIN.search(text):
            return list(fast.cut(text, hmm))
        if exact is None:
            exact = jieba_segmenter(entries, hmm=hmm)
        return exact(text)

    return segment


def _load_jieba(entries: Sequence[DictionaryEntry]) -> Any:
    """A ``jieba.Tokenizer`` of our own, ready to cut; the global one and jieba's logger stay as they are."""
    tokenizer = import_module("jieba").Tokenizer()
    # Not initialize(): it writes to standard error and trusts a cache file in the shared temporary folder.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    for entry in entries:
        replaced = tokenizer.FREQ.get(entry.word, 0)
        tokenizer.add_word(entry.word, entry.frequency, entry.tag or None)
        # jieba leaves the replaced frequency in its total, rjieba does not; without this, ties would fall differently.
        tokenizer.total -= replaced
    return tokenizer
