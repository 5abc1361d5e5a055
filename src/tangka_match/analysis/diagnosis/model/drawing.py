"""Hubs, worst queries and attention as parts of the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from tangka_match.analysis.diagnosis.model.attention import Example, Look
from tangka_match.analysis.diagnosis.model.failures import Query, Slice
from tangka_match.analysis.diagnosis.model.hubs import WORDS, Hubs, name_of
from tangka_match.analysis.diagnosis.model.scored import Scored
from tangka_match.data.layout import find_thumbnail
from tangka_match.data.split import Split
from tangka_match.retrieval.answers import Answer

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


OPEN = 5
"""Worst queries shown at once; the others are folded."""
BOXES = 4
"""Regions drawn for a word, those that it looks at most."""
ASKS = {"t2i": "Captions whose picture is not found", "i2t": "Pictures whose caption is not found"}


def draw_hubs(scored: Scored, album: Album, hubs: Mapping[str, Hubs]) -> str:
    """The items that answer most queries, with how many."""
    parts = []
    for direction, counted in hubs.items():
        one, asking = WORDS[direction]
        kind = "captions" if direction == "i2t" or not album.has(counted.strongest(1)[0]) else "ten"
        items = "".join(
            f"<li>{_item(scored, album, direction, item)}<b>first of {int(counted.first[item]):,}</b> among ten of "
            f"{int(counted.among[item]):,}</li>"
            for item in counted.strongest()
        )
        parts.append(f'<h3>{one.capitalize()}s that answer most {asking}</h3><ol class="answers {kind}">{items}</ol>')
    return "".join(parts)


def draw_slices(title: str, slices: Sequence[Slice]) -> str:
    """Recall of slices as a table, with bars."""
    if not slices:
        return ""
    rows = "".join(
        f'<tr><td>{escape(made.name)}</td><td class="number">{made.captions:,}</td>'
        f'<td class="number">{made.recall:.1f} ± {made.half_width:.1f}</td><td class="number">{made.others:.1f}</td>'
        f"<td>{_bar(made)}</td></tr>"
        for made in slices
    )
    head = "<tr><th>captions with</th><th>how many</th><th>R@1, %</th><th>all others</th><th></th></tr>"
    return f'<h3>{escape(title)}</h3><table class="slices">{head}{rows}</table>'


def draw_worst(scored: Scored, album: Album, direction: str, queries: Sequence[Query]) -> str:
    """Queries with their right answer and what stood first instead."""
    if not queries:
        return ""
    drawn = [_query(scored, album, query) for query in queries]
    more = "".join(drawn[OPEN:])
    folded = f"<details><summary>{len(drawn) - OPEN} more</summary>{more}</details>" if more else ""
    return f"<h3>{ASKS[direction]}</h3>{''.join(drawn[:OPEN])}{folded}"


def draw_attention(scored: Scored, album: Album, boxes: npt.NDArray[np.float32], examples: Sequence[Example]) -> str:
    """Pictures with the regions that words look at.

    Args:
        scored: The model's view of a split.
        album: Its pictures.
        boxes: (I, R, 4), left, top, right, bottom as shares.
        examples: What to draw.
    """
    parts = []
    for example in examples:
        looks = "".join(
            f"<li>{album.draw(example.image, _marks(boxes[example.image], look, album.size(example.image)))}"
            f"<b>{escape(look.text)}</b>{max(look.weights):.0%} on one region</li>"
            for look in example.looks
        )
        caption = escape(scored.split.captions[example.caption])
        identity = escape(scored.split.image_ids[example.image])
        parts.append(
            f'<article class="query"><div><p class="asked">{caption}</p><p class="note">{identity}, '
            f'{escape(example.title)}</p><ol class="answers six">{looks}</ol></div></article>'
        )
    return "".join(parts)


def _query(scored: Scored, album: Album, query: Query) -> str:
    asks_with_picture = query.direction == "i2t"
    named = escape(name_of(scored, "t2i" if asks_with_picture else "i2t", query.item))
    asked = f"<p>{named}</p>" if asks_with_picture else f'<p class="asked">{_caption(scored, query.item)}</p>'
    picture = album.draw(query.item) if asks_with_picture and album.has(query.item) else ""
    right = _answer(scored, album, query.direction, query.right, f"right, place {query.rank:,}")
    answers = "".join(
        _answer(scored, album, query.direction, answer, f"place {place}")
        for place, answer in enumerate(query.answers, 1)
    )
    kind = "six" if not asks_with_picture and album.has(query.right.item) else "captions"
    return (
        f'<article class="query">{picture}<div>{asked}<ol class="answers {kind}">{right}{answers}</ol></div></article>'
    )


def _answer(scored: Scored, album: Album, direction: str, answer: Answer, place: str) -> str:
    kind = ' class="right"' if answer.right else ""
    return f"<li{kind}>{_item(scored, album, direction, answer.item)}<b>{place}</b> score {answer.score:.3f}</li>"


def _item(scored: Scored, album: Album, direction: str, item: int) -> str:
    """A picture with its id, or with its caption where there is none to see; or a caption with its line."""
    named = f"<small>{escape(name_of(scored, direction, item))}</small>"
    if direction == "i2t":
        return f"<q>{_caption(scored, item)}</q>{named}"
    if album.has(item):
        return f"{album.draw(item)}{named}"
    first = int((scored.owners == item).nonzero()[0])
    return f"<q>{_caption(scored, first)}</q>{named}"


def _caption(scored: Scored, caption: int) -> str:
    return escape(scored.split.captions[caption])


def _bar(made: Slice) -> str:
    """R@1 of the slice as a bar, that of the others as a mark, on a scale of 0 to 100 %."""
    return (
        f'<svg class="bar" viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="200" height="12"/><rect class="fill" width="{2 * made.recall:.1f}" height="12"/>'
        f'<rect class="mark" x="{2 * made.others - 1:.1f}" width="2" height="12"/></svg>'
    )


def _marks(boxes: npt.NDArray[np.float32], look: Look, size: tuple[int, int]) -> str:
    """The regions that a word looks at most; what it looks at less is fainter."""
    width, height = size
    weights = np.array(look.weights)[: len(boxes)]
    parts = []
    for region in np.argsort(-weights, kind="stable")[:BOXES][::-1]:
        share = float(weights[region] / max(weights.max(), 1e-12))
        if share <= 0:
            continue
        left, top, right, bottom = boxes[region].tolist()
        parts.append(
            f'<rect class="look" x="{left * width:.1f}" y="{top * height:.1f}" width="{(right - left) * width:.1f}" '
            f'height="{(bottom - top) * height:.1f}" opacity="{max(share, 0.15):.2f}"/>'
        )
    return f'<rect class="veil" width="{width}" height="{height}"/>{"".join(parts)}'
