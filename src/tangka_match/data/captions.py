"""Caption and id files: strict UTF-8, one entry a line, and which image each caption belongs to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tangka_match.data.normalise import text_key
from tangka_match.errors import DataFormatError

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
