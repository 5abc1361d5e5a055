"""Caption lists: ``image#0<TAB>caption``, Flickr8k-CN's ``image#zhb#0 caption``, and ``image<TAB>caption``."""

import re
from collections.abc import Iterator, Sequence

from tangka_match.data.importers.caption_text import Row
from tangka_match.errors import DataFormatError

NUMBERED = re.compile(r"(?P<image>[^\t]+?)(?:#[A-Za-z][\w-]*)?#[0-9]{1,4}(?:\t|\s+)(?P<caption>\S.*)?")
"""Image, an optional kind of caption (``zhb``, ``zhmb``, ``enc``), the number of the caption, the caption."""

PLAIN = re.compile(r"(?P<image>[^\t]+)\t(?P<caption>[^\t]*\S[^\t]*)")
PICTURE = re.compile(r"\S.*\.(?:jpe?g|png|gif|bmp|webp|tiff?)$", re.IGNORECASE)


def is_numbered(lines: Sequence[str]) -> bool:
    """Whether all lines are ``image#number caption``."""
    return bool(lines) and all(NUMBERED.fullmatch(line) for line in lines)


def is_plain(lines: Sequence[str]) -> bool:
    """Whether all lines, also the first, are an image file, a tab and a caption."""
    found = [PLAIN.fullmatch(line) for line in lines]
    return bool(found) and all(match is not None and PICTURE.match(match["image"].strip()) for match in found)


def read_numbered(text: str, where: str) -> Iterator[Row]:
    """Read ``image#number caption``.

    Raises:
        DataFormatError: If a line has another form.
    """
    return _read(text, where, NUMBERED, "<image>#<number><tab or space><caption>")


def read_plain(text: str, where: str) -> Iterator[Row]:
    """Read ``image<TAB>caption``.

    Raises:
        DataFormatError: If a line has another form.
    """
    return _read(text, where, PLAIN, "<image><tab><caption>")


def _read(text: str, where: str, pattern: re.Pattern[str], form: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        match = pattern.fullmatch(line.strip("\r\n "))
        if match is None:
            raise DataFormatError(f"{where}: line {number} is {line[:80]!r}; expected {form}, as on the lines before")
        yield Row((match["image"].strip(),), match["caption"] or "", None)
