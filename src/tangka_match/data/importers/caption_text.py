"""Captions as other programs store them, and decoding of their files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from tangka_match.data.captions import is_punctuation, normalise_caption
from tangka_match.errors import ConfigError, DataFormatError

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
    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            encoding = name
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
            f"{likely_encodings(data)}"
        ) from error
    if "\x00" in text:
        raise DataFormatError(f"captions={path}: holds zero bytes: UTF-16 without a mark? Set encoding=utf-16-le")
    return text


COMMON = frozenset(
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经"
    "十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那社义事平形相全表"
    "間關樣條見無這個來時國會說對為學發經裡進後過動種當點機實還開與著兩隻們樓車馬頭紅藍綠黃黑白衣服穿站坐男女狗孩手佛像莲座蓮尊"
)
"""The most frequent characters of Chinese text, simplified and traditional, to tell encodings apart."""


def likely_encodings(data: bytes) -> str:
    """Name the encodings of a Chinese text that is not UTF-8, most likely first.

    >>> likely_encodings("一個男人坐在車上。他們的孩子在跑。".encode("big5"))
    'big5'
    >>> likely_encodings("一个男人坐在车上。他们的孩子在跑。".encode("gb18030"))
    'gb18030'
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or data.count(0) > len(data) // 4:
        return "utf-16"
    scores: dict[str, float] = {}
    for name in ("gb18030", "big5", "utf-16-le"):
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        letters = [c for c in text if c.isalpha() and not c.isascii()]
        scores[name] = sum(c in COMMON for c in letters) / max(1, len(letters))
    if not scores:
        return "gb18030, big5 or utf-16"
    best = max(scores.values())
    return (
        " or ".join(sorted(name for name, score in scores.items() if score >= best / 2)) if best else "gb18030 or big5"
    )


def first_lines(text: str, count: int = 20) -> Sequence[str]:
    """Return the first lines that are not empty."""
    found = []
    start = 0
    while len(found) < count and start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if line := text[start:end].strip():
            found.append(line)
        start = end + 1
    return found


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
