"""Words to ids and back, in SGRAF's JSON form."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Self

from tangka_match.data.legacy_vocabulary import read_legacy_vocabulary
from tangka_match.errors import ConfigError, DataFormatError

_SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")
_FORM = "the form is {'word2idx': {word: id}, 'idx2word': {'id': word}, 'idx': size}"


class Vocabulary:
    """The words a text encoder knows, numbered from 0 without a gap.

    Ids 0 to 3 are ``<pad>``, ``<start>``, ``<end>``, ``<unk>``; words follow. Two vocabularies are equal if they give
    every word the same id.

    Args:
        words: The words after the four special ones, in the order of their ids.

    Raises:
        DataFormatError: A word comes twice, or is one of the special ones.

    >>> vocabulary = Vocabulary.build([["一个", "男人"], ["一个", "女人"]])
    >>> vocabulary.encode(["一个", "孩子"])
    [1, 4, 3, 2]
    >>> vocabulary.decode([1, 4, 3, 2, 0, 0])
    ['一个', '<unk>']
    """

    PAD: ClassVar[int] = 0
    START: ClassVar[int] = 1
    END: ClassVar[int] = 2
    UNK: ClassVar[int] = 3

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._words: tuple[str, ...] = (*_SPECIALS, *words)
        self._ids = {word: index for index, word in enumerate(self._words)}
        for index, word in enumerate(self._words):
            if self._ids[word] != index:
                raise DataFormatError(
                    f"vocabulary: {word!r} has the ids {index} and {self._ids[word]}; each word needs one."
                )

    @classmethod
    def build(cls, tokenised: Iterable[Sequence[str]], min_count: int = 1) -> Self:
        """Collect the words of captions, numbered in the order in which they are first seen, as SGRAF does.

        Args:
            tokenised: The words of each caption; training captions only, or held-out text leaks into the model.
            min_count: Words seen less often become ``<unk>``; at least 1. SGRAF uses 4 on Flickr30K and COCO.

        Raises:
            ConfigError: ``min_count`` is below 1.
        """
        if min_count < 1:
            raise ConfigError(f"min_count={min_count} is below 1; 1 keeps every word.")
        counts = Counter(word for tokens in tokenised for word in tokens)
        return cls(word for word, count in counts.items() if count >= min_count and word not in _SPECIALS)

    def with_words(self, words: Iterable[str]) -> Self:
        """This vocabulary, followed by those of ``words`` that it lacks; the ids of its own words stay.

        >>> Vocabulary(["一个", "男人"]).with_words(["<pad>", "女人", "一个"]).words[4:]
        ('一个', '男人', '女人')
        """
        more = dict.fromkeys(word for word in words if word not in self)
        return type(self)((*self._words[len(_SPECIALS) :], *more))

    @property
    def words(self) -> tuple[str, ...]:
        """All words in the order of their ids, the four special ones first."""
        return self._words

    def __len__(self) -> int:
        return len(self._words)

    def __contains__(self, word: object) -> bool:
        return word in self._ids

    def __eq__(self, other: object) -> bool:
        return self._words == other._words if isinstance(other, Vocabulary) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._words)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} words, fingerprint {self.fingerprint()})"

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids of a caption, wrapped in ``<start>`` and ``<end>``; unknown words become ``<unk>``."""
        return [self.START, *(self._ids.get(token, self.UNK) for token in tokens), self.END]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Words of encoded ids, without ``<pad>``, ``<start>`` and ``<end>``.

        Raises:
            DataFormatError: An id is outside the vocabulary; the ids were made with another one.
        """
        words = []
        for index in ids:
            if not 0 <= index < len(self):
                raise DataFormatError(
                    f"id {index} is outside this vocabulary of {len(self)} words (0 to {len(self) - 1})."
                )
            if index not in (self.PAD, self.START, self.END):
                words.append(self._words[index])
        return words

    def unknown_share(self, tokenised: Iterable[Sequence[str]]) -> float:
        """Share of the tokens that the vocabulary does not know, in percent; 0 where there are no tokens.

        >>> Vocabulary(["一个"]).unknown_share([["一个", "男人"], ["一个", "一个"]])
        25.0
        """
        known = [token in self._ids for tokens in tokenised for token in tokens]
        return 100 * known.count(False) / len(known) if known else 0.0

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of the words in order; equal exactly for equal vocabularies."""
        return sha256(json.dumps(self._words).encode("ascii")).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """SGRAF's form: ``word2idx``, ``idx2word`` with ids as text, and ``idx``, the number of words."""
        return {
            "word2idx": dict(self._ids),
            "idx2word": {str(index): word for index, word in enumerate(self._words)},
            "idx": len(self._words),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "vocabulary") -> Self:
        """Rebuild from ``to_dict()``.

        Args:
            content: SGRAF's form.
            source: Where it comes from, for error messages.

        Raises:
            DataFormatError: A key is missing, the two directions disagree, ids have a gap, or a special word is not in
                its place.
        """
        if not isinstance(content, Mapping) or not {"word2idx", "idx2word", "idx"} <= set(content):
            found = sorted(content) if isinstance(content, Mapping) else type(content).__name__
            raise DataFormatError(f"{source}: found {found}, but {_FORM}.")
        for key in ("word2idx", "idx2word"):
            if not isinstance(content[key], Mapping):
                raise DataFormatError(f"{source}: {key} is a {type(content[key]).__name__}, but {_FORM}.")
        vocabulary = cls._from_word_ids(content["word2idx"], source)
        expected = vocabulary.to_dict()
        for index in sorted({*expected["idx2word"], *content["idx2word"]}):
            word, listed = expected["idx2word"].get(index), content["idx2word"].get(index)
            if word != listed:
                raise DataFormatError(f"{source}: id {index} is {word!r} in word2idx, but {listed!r} in idx2word.")
        if content["idx"] != len(vocabulary):
            raise DataFormatError(f"{source}: idx is {content['idx']!r}, but word2idx holds {len(vocabulary)} words.")
        return vocabulary

    def save_json(self, path: str | Path) -> None:
        """Write SGRAF's JSON; folders are made as needed. The text is ASCII, so that any reader's encoding will do."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(self.to_dict()), encoding="ascii")

    @classmethod
    def load_json(cls, path: str | Path) -> Self:
        """Read SGRAF's JSON.

        Raises:
            DataFormatError: The file is missing, is not JSON, or does not hold a complete vocabulary.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise DataFormatError(f"{path}: cannot read the vocabulary ({error.strerror}).") from error
        except (ValueError, RecursionError) as error:
            raise DataFormatError(f"{path}: the vocabulary is not JSON in UTF-8 ({error}).") from error
        return cls.from_dict(content, source=str(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a vocabulary file: ``.json``, or the old pickle as ``.pkl`` or ``.pickle``, which is never executed.

        Raises:
            DataFormatError: Another suffix, or a file that does not hold a complete vocabulary.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".json":
            return cls.load_json(path)
        if suffix in (".pkl", ".pickle"):
            return cls._from_word_ids(read_legacy_vocabulary(path), str(path))
        raise DataFormatError(f"{path}: suffix {suffix!r} is not a vocabulary's; expected .json, .pkl or .pickle.")

    @classmethod
    def _from_word_ids(cls, word_ids: Mapping[str, int], source: str) -> Self:
        for word, index in word_ids.items():
            if type(index) is not int:
                raise DataFormatError(f"{source}: {word!r} has the id {index!r}; expected a whole number.")
        ordered = sorted(word_ids.items(), key=lambda item: item[1])
        for place, (word, index) in enumerate(ordered):
            if index != place:
                raise DataFormatError(
                    f"{source}: {word!r} has the id {index}, where {place} should follow; ids run from 0, each once."
                )
        for place, special in enumerate(_SPECIALS):
            if place >= len(ordered) or ordered[place][0] != special:
                found = repr(ordered[place][0]) if place < len(ordered) else "nothing"
                raise DataFormatError(f"{source}: id {place} is {found}; it must be {special!r}.")
        return cls(word for word, _ in ordered[len(_SPECIALS) :])
