"""Thumbnails inside the page: each stands there once, and is drawn wherever it is wanted."""

import base64
import io
from html import escape
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from tangka_match.data.split import Split
from tangka_match.data.thumbnails import find_thumbnail

MOST = (168, 210)
"""Width and height that a thumbnail is brought down to, in pixels."""
BLANK = (168, 210)
"""Of the sheet that boxes are drawn on where there is no picture."""


class Album:
    """Pictures of a split's images, as SVG symbols.

    Args:
        split: Whose thumbnails lie beside its files, see ``data.thumbnails``.
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._root = split.captions_path.parent
        self._pictures: dict[int, tuple[str, int, int] | None] = {}

    def has(self, image: int) -> bool:
        """Whether there is a picture of an image that can be read."""
        return self._read(image) is not None

    def size(self, image: int) -> tuple[int, int]:
        """Width and height of a picture, or of the blank sheet in its place."""
        picture = self._read(image)
        return BLANK if picture is None else picture[1:]

    def draw(self, image: int, marks: str = "") -> str:
        """A picture as an SVG element, or a blank sheet.

        Args:
            image: Row of the image.
            marks: SVG drawn over it, in pixels of the picture.
        """
        width, height = self.size(image)
        ground = (
            f'<use href="#image-{image}"/>' if self.has(image) else f'<rect class="sheet" {_whole(width, height)}/>'
        )
        name = escape(self._split.image_ids[image], quote=True)
        return f'<svg class="thumb" viewBox="0 0 {width} {height}" role="img" aria-label="{name}">{ground}{marks}</svg>'

    def symbols(self) -> str:
        """The pictures drawn so far, to be put into the page once."""
        parts = [
            f'<symbol id="image-{image}" viewBox="0 0 {width} {height}"><image href="{data}" {_whole(width, height)}/>'
            "</symbol>"
            for image, picture in sorted(self._pictures.items())
            if picture is not None
            for data, width, height in [picture]
        ]
        return f'<svg class="album" aria-hidden="true">{"".join(parts)}</svg>' if parts else ""

    def _read(self, image: int) -> tuple[str, int, int] | None:
        if image not in self._pictures:
            path = find_thumbnail(self._root, self._split.image_ids[image])
            self._pictures[image] = None if path is None else _shrink(path)
        return self._pictures[image]


def _shrink(path: Path) -> tuple[str, int, int] | None:
    """A small copy as a data address, and its size; ``None`` where the file is no picture."""
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", MOST)
            small = opened.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    small.thumbnail(MOST)
    written = io.BytesIO()
    small.save(written, "JPEG", quality=80, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}", *small.size


def _whole(width: int, height: int) -> str:
    return f'width="{width}" height="{height}"'
