"""Captions as token ids, encoded once and stored in two flat arrays."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import ConfigError, DataFormatError, count

logger = logging.getLogger(__name__)

MIN_TOKENS = 3
"""Minimum caption length: ``<start>``, one word, ``<end>``."""


MAX_LISTED = 100
"""Most lines that a message lists."""


@dataclass(frozen=True, eq=False)
class EncodedCaptions:
    """Token ids of C captions; item c is a (T_c,) int64 array from ``<start>`` to ``<end>``.

    Two flat arrays are sent to a worker much faster than half a million lists.

    Args:
        ids: Token ids of all captions, concatenated.
        offsets: Start of each caption in ``ids``, and the end of the last one, (C + 1,).

    >>> encoded = EncodedCaptions(np.array([1, 7, 2, 1, 8, 9, 2]), np.array([0, 3, 7]))
    >>> len(encoded), encoded[1].tolist()
    (2, [1, 8, 9, 2])
    """

    ids: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def join(cls, parts: "Sequence[EncodedCaptions]") -> "EncodedCaptions":
        """Concatenate the captions of all parts."""
        starts = np.cumsum([0, *(len(part.ids) for part in parts)])
        offsets = [part.offsets[1:] + start for part, start in zip(parts, starts, strict=False)]
        return cls(np.concatenate([part.ids for part in parts]), np.concatenate([[0], *offsets]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[npt.NDArray[np.int64]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> npt.NDArray[np.int64]:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


def encode_captions(
    tokenised: Iterable[list[str]], vocabulary: Vocabulary, max_tokens: int, path: str | Path
) -> EncodedCaptions:
    """Encode captions.

    Args:
        tokenised: Words of C captions.
        vocabulary: Vocabulary that converts words to ids.
        max_tokens: Maximum length in tokens, including ``<start>`` and ``<end>``; longer captions are truncated and
            keep ``<end>``, and a warning says how many.
        path: Caption file, for messages.

    Raises:
        ConfigError: If ``max_tokens`` is < 3.
        DataFormatError: If a caption has no word.
    """
    check_max_tokens(max_tokens)
    encoded = [vocabulary.encode(words) for words in tokenised]
    empty = [line for line, ids in enumerate(encoded, 1) if len(ids) < MIN_TOKENS]
    if empty:
        listed = ", ".join(map(str, empty[:MAX_LISTED])) + (" …" if len(empty) > MAX_LISTED else "")
        raise DataFormatError(
            f"{path}: {count(len(empty), 'caption')} of {len(encoded):,} without a word after tokenising: line "
            f"{listed}. Write captions with at least one word, or remove the lines (and images without a caption)."
        )
    long = sum(len(ids) > max_tokens for ids in encoded)
    if long:
        logger.warning(
            "%s: %d of %d captions have more than %d tokens and are truncated (limit of data.max_tokens or of the "
            "pretrained model)",
            path,
            long,
            len(encoded),
            max_tokens,
        )
    encoded = [ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], ids[-1]] for ids in encoded]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return EncodedCaptions(np.fromiter((i for ids in encoded for i in ids), np.int64, offsets[-1]), offsets)


def check_max_tokens(max_tokens: int) -> None:
    """Check that a caption of this length can have a word.

    Raises:
        ConfigError: If ``max_tokens`` is < 3.
    """
    if max_tokens < MIN_TOKENS:
        raise ConfigError(
            f"data.max_tokens={max_tokens} must be >= {MIN_TOKENS}: <start>, one word, <end>. The default is 80."
        )
