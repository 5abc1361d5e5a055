"""Caption and id files, caption text in one normal form, and which image each caption belongs to."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tangka_match.errors import DataFormatError

_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs"})  # control, format (zero width, byte order mark), lone surrogate
_VARIATION_SELECTOR = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def normalise_caption(text: str) -> str:
    r"""Bring a caption into one form.

    Unicode NFKC (full-width letters, digits and compatibility characters become their plain forms), invisible
    characters removed (controls, zero-width characters, byte order marks, variation selectors), runs of white space
    made one space, ends stripped, lower case. Normalising twice changes nothing more.

    NFKC also turns the full-width ``，！？：；（）`` into ASCII, while ``。、「」《》`` have no other form and stay.
    This is wanted: writers mix both widths of a comma, and one mark must not become two words of the vocabulary. jieba
    cuts at either width, so the words around the mark come out the same.

    Args:
        text: A caption as written; may be empty.

    Returns:
        The normalised caption; empty where nothing visible was written.

    >>> normalise_caption("  ＧＰＵ绘制的　唐卡，\u200b高１２０ｃｍ！\n")
    'gpu绘制的 唐卡,高120cm!'
    >>> normalise_caption("主尊。") == normalise_caption("主尊\ufeff。")
    True
    """
    visible = "".join(c for c in text if c.isspace() or unicodedata.category(c) not in _INVISIBLE_CATEGORIES)
    folded = unicodedata.normalize("NFKC", _VARIATION_SELECTOR.sub("", visible)).lower()
    # Lower-casing can leave a letter and an accent that NFKC joins, hence the second pass.
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def is_punctuation(text: str) -> bool:
    """Whether a text is punctuation, symbols or white space alone, or empty: no letter, mark or digit of any script.

    Combining marks count as content: jieba cuts Tibetan into single characters, and a vowel sign is such a mark.

    >>> [is_punctuation(token) for token in ("。", ",", " ", "唐卡", "3", "ཨ")]
    [True, True, True, False, False, False]
    """
    return all(_is_filler(c) for c in text)


def text_key(text: str) -> str:
    """The key by which two captions count as the same text: normalised, without punctuation, symbols and spaces.

    Captions of one key are positives of each other in training, whatever image they were written for. A caption that
    holds nothing else than punctuation keeps its normalised form, so that such captions do not all become one.

    >>> text_key("一个男人，坐着。") == text_key("一个男人 坐着")
    True
    >>> text_key("一个男人") == text_key("两个男人")
    False
    """
    normalised = normalise_caption(text)
    return "".join(c for c in normalised if not _is_filler(c)) or normalised


def _is_filler(character: str) -> bool:
    """Punctuation, symbol, separator or invisible character; private-use characters may be letters and are kept."""
    category = unicodedata.category(character)
    return category[0] in "PSZ" or category in _INVISIBLE_CATEGORIES


_BOM = b"\xef\xbb\xbf"
_SHOWN = 5


def read_lines(path: str | Path) -> list[str]:
    r"""Read a text file, one entry a line, without the space around each.

    Only ``\n`` and ``\r\n`` end a line: other separators that Unicode knows may stand in a caption. A byte-order mark
    at the start is skipped, and a newline at the end is fine.

    Args:
        path: A UTF-8 file.

    Returns:
        The entries, none of them empty; at least one.

    Raises:
        DataFormatError: If the file is missing or empty, a byte is not UTF-8, or a line is empty.
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
            f"Convert the file, for instance: iconv -f GB18030 -t UTF-8 {path.name}"
        ) from error
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    empty = [number for number, line in enumerate(lines, 1) if not line]
    if len(lines) == len(empty):
        raise DataFormatError(f"{path}: holds no text. Write one entry a line, UTF-8.")
    if empty:
        raise DataFormatError(
            f"{path}: {len(empty)} of {len(lines)} lines are empty: {_some(empty)}. "
            "Every line must hold an entry; fill or remove them, and keep the files of a split in step."
        )
    return lines


def group_texts(captions: Sequence[str]) -> npt.NDArray[np.int64]:
    """Number captions such that those of the same text share a number.

    Args:
        captions: C captions.

    Returns:
        (C,) numbers from 0, in order of first appearance; texts are compared by ``text_key``.

    >>> group_texts(["狗在跑", "猫", "狗在跑"]).tolist()
    [0, 1, 0]
    """
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text_key(caption), len(numbers)) for caption in captions], dtype=np.int64)


def group_ids(ids: Sequence[str], path: str | Path) -> npt.NDArray[np.int64]:
    """Number the images that ids given once a caption name.

    Args:
        ids: C image ids, those of one image on consecutive lines.
        path: Where they come from, for messages.

    Returns:
        (C,) image numbers from 0, ascending.

    Raises:
        DataFormatError: If an id returns after another one.

    >>> group_ids(["a", "a", "b"], "ids.txt").tolist()
    [0, 0, 1]
    """
    groups: list[int] = []
    last_line: dict[str, int] = {}
    for line, image_id in enumerate(ids, 1):
        if last_line.get(image_id, line - 1) != line - 1:
            raise DataFormatError(
                f"{path}: image id {image_id!r} on line {last_line[image_id]} comes back on line {line}. Captions of "
                "one image must be consecutive, and two images must not share an id."
            )
        groups.append(groups[-1] + (image_id not in last_line) if groups else 0)
        last_line[image_id] = line
    return np.array(groups, dtype=np.int64)


def check_unique(ids: Sequence[str], path: str | Path) -> None:
    """Make sure that ids given once an image differ.

    Args:
        ids: N image ids.
        path: Where they come from, for messages.

    Raises:
        DataFormatError: If an id stands on two lines.
    """
    first_line: dict[str, int] = {}
    for line, image_id in enumerate(ids, 1):
        if (first := first_line.setdefault(image_id, line)) != line:
            raise DataFormatError(
                f"{path}: image id {image_id!r} stands on line {first} and again on line {line}, but with one id an "
                f"image ({len(ids)} ids) they must be unique. Rename one of them."
            )


def _some(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return ", ".join(map(str, numbers[:_SHOWN])) + more
