"""Recognise caption files that are not captions alone, and would be trained on with their keys."""

import re
from collections.abc import Sequence
from pathlib import Path

from tangka_match.errors import DataFormatError

SHOWN, CHECKED, SHARE = 60, 1000, 0.9
"""Characters of a line that a message shows; lines that are checked; share of them that must look alike."""

MARKS = {
    "are JSON": re.compile(r"\{.*\}|\[?\{.*\},?"),
    "begin with an image and the number of a caption": re.compile(r"[^\t]+?#[0-9]{1,4}(?:\t|\s).*"),
    "begin with an image file": re.compile(r"\S+\.(?:jpe?g|png|gif|bmp|webp|tiff?)\b\W.*", re.IGNORECASE),
    "begin with a key and a tab": re.compile(r"[\x21-\x7e]{1,200}\t.+"),
}


def check_captions(captions: Sequence[str], path: Path) -> None:
    """Refuse lines that hold image names, keys or JSON besides the caption.

    Args:
        captions: Captions as written, one per line.
        path: Their file, for messages.

    Raises:
        DataFormatError: If nearly all lines look alike in one of these ways.
    """
    lines = captions[:CHECKED]
    for what, pattern in MARKS.items():
        found = [line for line in lines if pattern.fullmatch(line)]
        if len(found) > 1 and len(found) >= SHARE * len(lines):
            raise DataFormatError(
                f"{path}: the lines {what}: {found[0][:SHOWN]!r}. A line must be a caption and nothing else. "
                "tangka_match.prepare reads such files and pairs them by image: python -m tangka_match.prepare "
                f"features=<features> captions={path.name} out=<new folder>"
            )
