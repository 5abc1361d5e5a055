"""Captions as other programs store them, and decoding of their files."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tangka_match.data.captions import is_punctuation, normalise_caption
from tangka_match.data.encodings import MARKS, fitting_encoding, likely_encodings
from tangka_match.errors import ConfigError, DataFormatError

LINE = re.compile(r"[^\n]+")
SHOWN = 20
"""Characters of a line that a message shows."""
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "restval", "trainval"), "train"),
    **dict.fromkeys(("val", "dev", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of splits in published files, and ours; Karpathy's ``restval`` is trained on, as in the published protocol."""


@dataclass(frozen=True)
class CaptionedImage:
    """Image with its captions.

    Args:
        names: Names of the image: its file name or id first, then other ids.
        captions: Captions as written, white space collapsed.
        split: ``train``, ``val`` or ``test``; ``None`` if the file does not say.
    """

    names: tuple[str, ...]
    captions: tuple[str, ...]
    split: str | None


class Row(NamedTuple):
    """One caption of a file.

    Attributes:
        names: Names of its image.
        caption: Caption as written; empty for an image without captions.
        split: Name of the split as written, or ``None``.
    """

    names: tuple[str, ...]
    caption: str
    split: str | None


def collect(rows: Iterable[Row], where: str) -> list[CaptionedImage]:
    """Group captions by image, in the order in which images first occur.

    Args:
        rows: Captions; those of an image may be scattered.
        where: File, for messages.

    Raises:
        DataFormatError: If a split has an unknown name, or an image is in two splits.
    """
    names: dict[str, tuple[str, ...]] = {}
    captions: dict[str, list[str]] = {}
    splits: dict[str, str | None] = {}
    for row in rows:
        key = row.names[0]
        split = None if row.split is None else known_split(row.split, where)
        names.setdefault(key, row.names)
        if splits.setdefault(key, split) != split:
            raise DataFormatError(f"{where}: image {key!r} is in {splits[key]} and in {split}; an image has one split")
        texts = captions.setdefault(key, [])
        if caption := " ".join(row.caption.split()):
            texts.append(caption)
    return [CaptionedImage(names[key], tuple(texts), splits[key]) for key, texts in captions.items()]


def known_split(name: str, where: str) -> str:
    """Return our name of a split.

    Raises:
        DataFormatError: If the name is unknown.

    >>> known_split("restval", "dataset.json"), known_split("valid", "dataset.json")
    ('train', 'val')
    """
    split = SPLIT_NAMES.get(name.strip().lower())
    if split is None:
        raise DataFormatError(f"{where}: split {name!r}; allowed: {', '.join(SPLIT_NAMES)}")
    return split


def split_of_file(path: Path) -> str | None:
    """Return the split that a file name begins or ends with.

    >>> [split_of_file(Path(name)) for name in ("valid_texts.jsonl", "f8k.test.csv", "contest.csv")]
    ['val', 'test', None]
    """
    words = path.stem.lower().replace(".", "_").replace("-", "_").split("_")
    found = {SPLIT_NAMES[word] for word in (words[0], words[-1]) if word in SPLIT_NAMES}
    return found.pop() if len(found) == 1 else None


def read_text(path: Path, encoding: str) -> str:
    """Decode a text file; a byte order mark decides over ``encoding``.

    Raises:
        ConfigError: If the encoding does not exist.
        DataFormatError: If the file cannot be read, or is not in this encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataFormatError(f"captions={path}: cannot be read ({error.strerror})") from error
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), encoding)
    try:
        text = data.decode(encoding)
    except LookupError as error:
        raise ConfigError(
            f"encoding={encoding}: no such encoding; allowed: utf-8, gb18030, big5, utf-16-le …"
        ) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataFormatError(
            f"captions={path}: line {line} is not {encoding} ({error.reason}); set encoding to that of the file: "
            f"{' or '.join(likely_encodings(data))}"
        ) from error
    if other := fitting_encoding(data, encoding):
        raise DataFormatError(
            f"captions={path}: the characters are those of {other}, and encoding={encoding} would turn them into "
            f"others: {first_lines(text, 1)[0][:SHOWN]!r}; set encoding={other}"
        )
    if "\x00" in text:
        raise DataFormatError(f"captions={path}: holds zero bytes: UTF-16 without a mark? Set encoding=utf-16-le")
    return text


def first_lines(text: str, count: int = 20) -> list[str]:
    """Return the first lines that are not empty, stripped."""
    lines = (match[0].strip() for match in LINE.finditer(text))
    return list(islice((line for line in lines if line), count))


def without_empty(images: Sequence[CaptionedImage]) -> tuple[list[CaptionedImage], int]:
    """Remove captions without a letter or digit, which no model can learn from.

    Returns:
        The images, and the number of removed captions.
    """
    kept = [
        replace(image, captions=tuple(c for c in image.captions if not is_punctuation(normalise_caption(c))))
        for image in images
    ]
    removed = sum(len(image.captions) for image in images) - sum(len(image.captions) for image in kept)
    return kept, removed


def simplified(images: Sequence[CaptionedImage]) -> list[CaptionedImage]:
    """Replace traditional characters by simplified ones.

    Raises:
        ConfigError: If OpenCC is not installed.
    """
    try:
        converter = import_module("opencc").OpenCC("t2s")
    except ImportError as error:
        raise ConfigError(
            "simplified=true needs the package opencc; install it with: pip install 'tangka-match[opencc]'"
        ) from error
    return [replace(image, captions=tuple(map(converter.convert, image.captions))) for image in images]
