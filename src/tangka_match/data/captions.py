"""Caption and id files, caption normalisation, and grouping of captions by text and by image."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tangka_match.data.encodings import likely_encodings
from tangka_match.errors import DataFormatError

_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs"})  # control, format (zero width, byte order mark), surrogate
_VARIATION_SELECTOR = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")


class _WithoutCharacters(dict[int, int | None]):
    """Table for ``str.translate`` that removes characters; it learns each character once, for captions by the million.

    Args:
        is_removed: Whether a character is removed.
    """

    def __init__(self, is_removed: Callable[[str], bool]) -> None:
        super().__init__()
        self._is_removed = is_removed

    def __missing__(self, code: int) -> int | None:
        self[code] = None if self._is_removed(chr(code)) else code
        return self[code]


_BOM = b"\xef\xbb\xbf"
_MAX_LISTED = 5


def read_lines(path: str | Path) -> list[str]:
    r"""Read a text file with one entry per line, stripped.

    Only ``\n`` and ``\r\n`` end a line, because captions may contain other Unicode separators. A byte order mark at the
    start is skipped.

    Args:
        path: UTF-8 file.

    Returns:
        Entries, none of them empty; at least one.

    Raises:
        DataFormatError: If the file is missing or empty, is not UTF-8, or has an empty line.
    """
    path = Path(path)
    try:
        data = path.read_bytes().removeprefix(_BOM)
    except OSError as error:
        raise DataFormatError(f"{path}: cannot be read ({error.strerror}). Check data.root.") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = error.start - data.rfind(b"\n", 0, error.start)
        raise DataFormatError(
            f"{path}: line {line}, byte {byte} (0x{data[error.start]:02x}) is not UTF-8 ({error.reason}). "
            f"Convert the file: {_conversion(data, error.start)} {path.name}"
        ) from error
    if "\x00" in text:
        raise DataFormatError(
            f"{path}: holds zero bytes, as UTF-16 does. Convert the file: iconv -f UTF-16LE -t UTF-8 {path.name}"
        )
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    empty = [number for number, line in enumerate(lines, 1) if not line]
    if len(lines) == len(empty):
        raise DataFormatError(f"{path}: the file is empty. Write one entry per line, UTF-8.")
    if empty:
        raise DataFormatError(
            f"{path}: {len(empty)} of {len(lines)} lines are empty: {_list(empty)}. "
            "Every line must have an entry; fill or remove them, and keep the files of the split consistent."
        )
    return lines


def _conversion(data: bytes, position: int) -> str:
    """Return the command that converts a file, by the lines from the first faulty one on."""
    start = data.rfind(b"\n", 0, position) + 1
    encodings = likely_encodings(data if data.startswith((b"\xff\xfe", b"\xfe\xff")) else data[start:].rstrip(b"\n"))
    other = f" (or -f {', -f '.join(map(str.upper, encodings[1:]))})" if len(encodings) > 1 else ""
    return f"iconv -f {encodings[0].upper()}{other} -t UTF-8"


def _list(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - _MAX_LISTED} more" if len(numbers) > _MAX_LISTED else ""
    return ", ".join(map(str, numbers[:_MAX_LISTED])) + more


def normalise_caption(text: str) -> str:
    r"""Normalise a caption.

    Applies Unicode NFKC (full-width letters and digits become their plain forms), removes invisible characters
    (controls, zero-width characters, byte order marks, variation selectors), collapses white space, strips, and
    converts to lower case. The function is idempotent.

    NFKC also converts the full-width ``，！？：；（）`` to ASCII (``。、「」《》`` have no other form). Writers mix
    both widths, and one mark must not become two words of the vocabulary. jieba splits at either width.

    Args:
        text: Caption as written; may be empty.

    Returns:
        Normalised caption; empty if nothing visible was written.

    >>> normalise_caption("  ＧＰＵ绘制的　唐卡，\u200b高１２０ｃｍ！\n")
    'gpu绘制的 唐卡,高120cm!'
    >>> normalise_caption("主尊。") == normalise_caption("主尊\ufeff。")
    True
    """
    visible = text.translate(_VISIBLE)
    folded = unicodedata.normalize("NFKC", _VARIATION_SELECTOR.sub("", visible)).lower()
    # Lower-casing can create a letter and an accent that NFKC combines, hence the second pass.
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def is_punctuation(text: str) -> bool:
    """Whether a text contains no letter, digit or combining mark of any script.

    Combining marks count as content, because jieba splits Tibetan into single characters, including vowel signs.

    >>> [is_punctuation(token) for token in ("。", ",", " ", "唐卡", "3", "ཨ")]
    [True, True, True, False, False, False]
    """
    return all(_is_filler(c) for c in text)


def text_key(text: str) -> str:
    """Return the key that is equal for captions with the same text: normalised, without punctuation and spaces.

    In training, captions with the same key are positives of each other, whatever their images. A caption of only
    punctuation keeps its normalised form, so that such captions are not all equal.

    >>> text_key("一个男人，坐着。") == text_key("一个男人 坐着")
    True
    >>> text_key("一个男人") == text_key("两个男人")
    False
    """
    normalised = normalise_caption(text)
    return normalised.translate(_CONTENT) or normalised


def _is_filler(character: str) -> bool:
    """Whether a character is punctuation, a symbol, a separator or invisible; private-use characters are not."""
    category = unicodedata.category(character)
    return category[0] in "PSZ" or category in _INVISIBLE_CATEGORIES


_VISIBLE = _WithoutCharacters(lambda c: not c.isspace() and unicodedata.category(c) in _INVISIBLE_CATEGORIES)
_CONTENT = _WithoutCharacters(_is_filler)


def group_texts(captions: Sequence[str]) -> npt.NDArray[np.int64]:
    """Assign captions with the same text to the same group.

    Args:
        captions: C captions.

    Returns:
        Group of each caption, (C,), numbered from 0 by first occurrence; texts are compared by ``text_key``.

    >>> group_texts(["狗在跑", "猫", "狗在跑"]).tolist()
    [0, 1, 0]
    """
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text_key(caption), len(numbers)) for caption in captions], dtype=np.int64)


def group_ids(ids: Sequence[str], path: str | Path) -> npt.NDArray[np.int64]:
    """Convert image ids, one per caption, to image indices.

    Args:
        ids: Image ids of C captions; equal ids must be consecutive.
        path: File of the ids, for messages.

    Returns:
        Image index of each caption, (C,), ascending from 0.

    Raises:
        DataFormatError: If equal ids are not consecutive.

    >>> group_ids(["a", "a", "b"], "ids.txt").tolist()
    [0, 0, 1]
    """
    groups: list[int] = []
    last_line: dict[str, int] = {}
    for line, image_id in enumerate(ids, 1):
        if last_line.get(image_id, line - 1) != line - 1:
            raise DataFormatError(
                f"{path}: image id {image_id!r} on line {last_line[image_id]} occurs again on line {line}. Captions of "
                "one image must be consecutive, and two images must not have the same id."
            )
        groups.append(groups[-1] + (image_id not in last_line) if groups else 0)
        last_line[image_id] = line
    return np.array(groups, dtype=np.int64)


def check_unique(ids: Sequence[str], path: str | Path) -> None:
    """Check that image ids, one per image, are unique.

    Args:
        ids: N image ids.
        path: File of the ids, for messages.

    Raises:
        DataFormatError: If an id occurs twice.
    """
    first_line: dict[str, int] = {}
    for line, image_id in enumerate(ids, 1):
        if (first := first_line.setdefault(image_id, line)) != line:
            raise DataFormatError(
                f"{path}: image id {image_id!r} occurs on line {first} and on line {line}, but with one id per image "
                f"({len(ids)} ids) they must be unique. Rename one of them."
            )
