"""Vocabulary: mapping between words and ids, stored in SGRAF's JSON form."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Self

from tangka_match.data.legacy_vocabulary import read_legacy_vocabulary
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.files import write_text_completely

logger = logging.getLogger(__name__)

NOTED_SHARE, USELESS_SHARE = 20.0, 98.0
"""Percentage of unknown words in the training captions above which a vocabulary is warned of, and refused."""

_SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")
CHARACTER_MARK = "@@"
"""Suffix of the characters of unknown words, as of subword units in Sennrich et al., arXiv 1508.07909: 母@@."""
_FORM = "expected {'word2idx': {word: id}, 'idx2word': {'id': word}, 'idx': size}"


class Vocabulary:
    """Vocabulary of a text encoder, with consecutive ids from 0.

    Ids 0 to 3 are the special tokens ``<pad>``, ``<start>``, ``<end>``, ``<unk>``; the words follow. Two vocabularies
    are equal if every word has the same id in both.

    Args:
        words: Words in the order of their ids, without the special tokens.

    Raises:
        DataFormatError: If a word occurs twice, or is a special token.

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
                    f"vocabulary: {word!r} has the ids {index} and {self._ids[word]}; each word must have one id."
                )

    @classmethod
    def build(cls, tokenised: Iterable[Sequence[str]], min_count: int = 1, *, character_fallback: bool = False) -> Self:
        """Build a vocabulary from tokenised captions, in order of first occurrence as in SGRAF.

        Args:
            tokenised: Words of each caption; use training captions only, so that no held-out text leaks in.
            min_count: Minimum number of occurrences, >= 1; rarer words become ``<unk>``. SGRAF uses 4 on Flickr30K
                and COCO.
            character_fallback: Whether the characters of all words follow, with `CHARACTER_MARK`; unknown words are
                then encoded by their characters.

        Raises:
            ConfigError: If ``min_count`` is < 1.

        >>> vocabulary = Vocabulary.build([["男人", "孩"]], character_fallback=True)
        >>> vocabulary.decode(vocabulary.encode(["男人", "男孩", "女孩", "狗"]))
        ['男人', '男@@', '孩@@', '<unk>', '孩@@', '<unk>']
        """
        if min_count < 1:
            raise ConfigError(f"min_count={min_count} must be >= 1; 1 keeps every word.")
        counts = Counter(word for tokens in tokenised for word in tokens if word not in _SPECIALS)
        words = [word for word, count in counts.items() if count >= min_count]
        letters = dict.fromkeys(letter for word in counts for letter in word) if character_fallback else {}
        return cls([*words, *(letter + CHARACTER_MARK for letter in letters)])

    def with_words(self, words: Iterable[str]) -> Self:
        """Append the words that are missing in this vocabulary; existing ids do not change.

        >>> Vocabulary(["一个", "男人"]).with_words(["<pad>", "女人", "一个"]).words[4:]
        ('一个', '男人', '女人')
        """
        more = dict.fromkeys(word for word in words if word not in self)
        return type(self)((*self._words[len(_SPECIALS) :], *more))

    @property
    def num_characters(self) -> int:
        """Number of characters that stand for unknown words."""
        return sum(word.endswith(CHARACTER_MARK) for word in self._words)

    @property
    def words(self) -> tuple[str, ...]:
        """All words in the order of their ids, including the special tokens."""
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
        """Convert the words of a caption to ids, between ``<start>`` and ``<end>``; see `encode_word`."""
        return [self.START, *(index for token in tokens for index in self.encode_word(token)), self.END]

    def encode_word(self, word: str) -> list[int]:
        """Convert a word to its id, or an unknown one to those of its characters if the vocabulary has one of them.

        >>> Vocabulary(["男人", "男@@"]).encode_word("男人"), Vocabulary(["男人"]).encode_word("男孩")
        ([4], [3])
        """
        if word in self._ids:
            return [self._ids[word]]
        letters = [self._ids.get(letter + CHARACTER_MARK, self.UNK) for letter in word]
        return letters if any(letter != self.UNK for letter in letters) else [self.UNK]

    def knows(self, word: str) -> bool:
        """Check whether the model sees anything of a word: the word itself, or one of its characters.

        >>> vocabulary = Vocabulary(["男人", "男@@"])
        >>> vocabulary.knows("男人"), vocabulary.knows("男孩"), vocabulary.knows("女孩")
        (True, True, False)
        """
        return self.encode_word(word) != [self.UNK]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Convert ids to words, without ``<pad>``, ``<start>`` and ``<end>``.

        Raises:
            DataFormatError: If an id is outside the vocabulary.
        """
        words = []
        for index in ids:
            if not 0 <= index < len(self):
                raise DataFormatError(
                    f"id {index} is outside this vocabulary of {len(self)} words (ids 0 to {len(self) - 1})."
                )
            if index not in (self.PAD, self.START, self.END):
                words.append(self._words[index])
        return words

    def unknown_share(self, tokenised: Iterable[Sequence[str]]) -> float:
        """Return the share of tokens that the vocabulary does not know in percent; 0 if there are no tokens.

        >>> Vocabulary(["一个"]).unknown_share([["一个", "男人"], ["一个", "一个"]])
        25.0
        """
        known = [self.knows(token) for tokens in tokenised for token in tokens]
        return 100 * known.count(False) / len(known) if known else 0.0

    def check_coverage(self, tokenised: Iterable[Sequence[str]], source: str | Path, remedy: str) -> "Vocabulary":
        """Warn if many words of the training captions are unknown, and refuse if nearly all are.

        Args:
            tokenised: Words of the training captions.
            source: File of the vocabulary, or the setting that it comes from, for messages.
            remedy: What to do, for messages.

        Returns:
            This vocabulary.

        Raises:
            DataFormatError: If at least ``USELESS_SHARE`` percent are unknown.
        """
        share = self.unknown_share(tokenised)
        message = (
            f"{source}: {share:.0f} % of the words of the training captions are not in this vocabulary and become <unk>"
        )
        if share >= USELESS_SHARE:
            raise DataFormatError(
                f"{message}; it belongs to other captions, another language or another tokenizer. {remedy}"
            )
        if share > NOTED_SHARE:
            logger.warning("%s. %s", message, remedy)
        return self

    def fingerprint(self) -> str:
        """Hash the words in order (SHA-256, 16 hex digits); equal for equal vocabularies."""
        return sha256(json.dumps(self._words).encode("ascii")).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Convert to SGRAF's form: ``word2idx``, ``idx2word`` with ids as text, and ``idx``, the number of words."""
        return {
            "word2idx": dict(self._ids),
            "idx2word": {str(index): word for index, word in enumerate(self._words)},
            "idx": len(self._words),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "vocabulary") -> Self:
        """Rebuild a vocabulary from ``to_dict()``.

        Args:
            content: Vocabulary in SGRAF's form.
            source: Name of the source, for messages.

        Raises:
            DataFormatError: If a key is missing, the two mappings disagree, ids are not consecutive, or a special
                token does not have its id.
        """
        if not isinstance(content, Mapping) or not {"word2idx", "idx2word", "idx"} <= set(content):
            found = sorted(content) if isinstance(content, Mapping) else type(content).__name__
            raise DataFormatError(f"{source}: found {found}, {_FORM}.")
        for key in ("word2idx", "idx2word"):
            if not isinstance(content[key], Mapping):
                raise DataFormatError(f"{source}: {key} is of type {type(content[key]).__name__}, {_FORM}.")
        vocabulary = cls._from_word_ids(content["word2idx"], source)
        expected = vocabulary.to_dict()
        for index in sorted({*expected["idx2word"], *content["idx2word"]}):
            word, listed = expected["idx2word"].get(index), content["idx2word"].get(index)
            if word != listed:
                raise DataFormatError(f"{source}: id {index} is {word!r} in word2idx, but {listed!r} in idx2word.")
        if content["idx"] != len(vocabulary):
            raise DataFormatError(f"{source}: idx is {content['idx']!r}, but word2idx has {len(vocabulary)} words.")
        return vocabulary

    def save_json(self, path: str | Path) -> None:
        """Write SGRAF's JSON as ASCII text, which reads the same in any encoding; missing folders are created."""
        write_text_completely(Path(path), json.dumps(self.to_dict()))

    @classmethod
    def load_json(cls, path: str | Path) -> Self:
        """Read SGRAF's JSON.

        Raises:
            DataFormatError: If the file is missing, is not JSON, or is not a complete vocabulary.
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
        """Read a vocabulary file: ``.json``, or SGRAF's pickle (``.pkl``, ``.pickle``), without executing it.

        Raises:
            DataFormatError: If the suffix is unknown, or the file is not a complete vocabulary.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".json":
            return cls.load_json(path)
        if suffix in (".pkl", ".pickle"):
            return cls._from_word_ids(read_legacy_vocabulary(path), str(path))
        raise DataFormatError(f"{path}: unknown vocabulary suffix {suffix!r}; must be .json, .pkl or .pickle.")

    @classmethod
    def _from_word_ids(cls, word_ids: Mapping[str, int], source: str) -> Self:
        for word, index in word_ids.items():
            if type(index) is not int:
                raise DataFormatError(f"{source}: {word!r} has the id {index!r}; ids must be integers.")
        ordered = sorted(word_ids.items(), key=lambda item: item[1])
        for position, (word, index) in enumerate(ordered):
            if index != position:
                raise DataFormatError(
                    f"{source}: {word!r} has the id {index}, expected {position}; ids must be consecutive from 0."
                )
        for position, special in enumerate(_SPECIALS):
            if position >= len(ordered) or ordered[position][0] != special:
                found = repr(ordered[position][0]) if position < len(ordered) else "missing"
                raise DataFormatError(f"{source}: id {position} is {found}; it must be {special!r}.")
        return cls(word for word, _ in ordered[len(_SPECIALS) :])
