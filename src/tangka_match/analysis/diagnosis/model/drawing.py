"""HTML and SVG for the hubs, slices, worst queries and attention weights of a model."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from tangka_match.analysis.diagnosis.model.attention import Example, WordAttention
from tangka_match.analysis.diagnosis.model.failures import Query, Slice
from tangka_match.analysis.diagnosis.model.hubs import NOUNS, Hubs, find_hubs, name_of
from tangka_match.analysis.diagnosis.model.scored import Queries, Scored
from tangka_match.data.layout import find_thumbnail
from tangka_match.errors import count
from tangka_match.retrieval.answers import Answer

MAX_SIZE = (168, 210)
"""Largest width and height of a thumbnail, in pixels."""
PLACEHOLDER_SIZE = (168, 210)
"""Width and height of the placeholder for an image without a thumbnail, in pixels."""
MAX_OPEN = 5
"""Worst queries shown directly; the others are collapsed."""
MAX_BOXES = 4
"""Regions drawn per word, those with the largest weights."""
WORST_TITLES = {"t2i": "Captions with the worst ranks", "i2t": "Images with the worst ranks"}


class Album:
    """Thumbnails of a split, as SVG symbols.

    Args:
        split: Split with thumbnails in its folder; see ``data.thumbnails``.
    """

    def __init__(self, split: Queries) -> None:
        self._split = split
        self._root = split.captions_path.parent
        self._pictures: dict[int, tuple[str, int, int] | None] = {}

    def has(self, image: int) -> bool:
        """Whether an image has a readable thumbnail."""
        return self._read(image) is not None

    def data_url(self, image: int) -> str | None:
        """Return the thumbnail as a data URL; ``None`` without one."""
        picture = self._read(image)
        return None if picture is None else picture[0]

    def size(self, image: int) -> tuple[int, int]:
        """Return the width and height of the thumbnail, or of the placeholder."""
        picture = self._read(image)
        return PLACEHOLDER_SIZE if picture is None else picture[1:]

    def draw(self, image: int, marks: str = "") -> str:
        """Draw a thumbnail as an SVG element, or a placeholder.

        Args:
            image: Row of the image.
            marks: SVG drawn over it, in pixels of the thumbnail.
        """
        width, height = self.size(image)
        ground = (
            f'<use href="#image-{image}"/>' if self.has(image) else f'<rect class="sheet" {_whole(width, height)}/>'
        )
        name = escape(self._split.image_ids[image], quote=True)
        return f'<svg class="thumb" viewBox="0 0 {width} {height}" role="img" aria-label="{name}">{ground}{marks}</svg>'

    def symbols(self) -> str:
        """Return the thumbnails drawn so far as SVG symbols, to be inserted into the page once."""
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
    """Return a small copy as a data URL, and its size; ``None`` if the file is not an image."""
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", MAX_SIZE)
            small = opened.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    small.thumbnail(MAX_SIZE)
    written = io.BytesIO()
    small.save(written, "JPEG", quality=80, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}", *small.size


def _whole(width: int, height: int) -> str:
    return f'width="{width}" height="{height}"'


def draw_hubs(scored: Scored, album: Album, hubs: Mapping[str, Hubs]) -> str:
    """Draw the strongest hubs of both directions, with their k-occurrences."""
    parts = []
    for direction, counted in hubs.items():
        item_noun, query_noun = NOUNS[direction]
        heading = f"{item_noun.capitalize()}s that most {query_noun} rank first"
        found = find_hubs(scored, direction, counted)
        if not found:
            most = count(int(counted.first.max()), query_noun.removesuffix("s"))
            parts.append(
                f'<h3>{heading}</h3><p class="note">No hubs: no {item_noun} is ranked first by more than {most}, '
                "or by more than it matches.</p>"
            )
            continue
        kind = "captions" if direction == "i2t" or not album.has(found[0]) else "ten"
        items = "".join(
            f"<li>{_item(scored, album, direction, item)}<b>{int(counted.first[item]):,} × first</b> "
            f"{int(counted.among[item]):,} × in the top ten</li>"
            for item in found
        )
        parts.append(f'<h3>{heading}</h3><ol class="answers {kind}">{items}</ol>')
    return "".join(parts)


def draw_slices(title: str, slices: Sequence[Slice]) -> str:
    """Draw the recall of slices as a table with bars."""
    if not slices:
        return ""
    rows = "".join(
        f'<tr><td>{escape(made.name)}</td><td class="number">{made.captions:,}</td>'
        f'<td class="number">{made.recall:.1f} ({low:.1f}–{high:.1f})</td><td class="number">{made.others:.1f}</td>'
        f"<td>{_bar(made)}</td></tr>"
        for made in slices
        for low, high in [made.interval]
    )
    head = "<tr><th>captions with</th><th>number</th><th>R@1, % (95 % interval)</th><th>all others</th><th></th></tr>"
    return f'<h3>{escape(title)}</h3><table class="slices">{head}{rows}</table>'


def draw_worst(scored: Scored, album: Album, direction: str, queries: Sequence[Query]) -> str:
    """Draw queries with their correct answer and their top answers."""
    if not queries:
        return ""
    drawn = [_query(scored, album, query) for query in queries]
    more = "".join(drawn[MAX_OPEN:])
    folded = f"<details><summary>{len(drawn) - MAX_OPEN} more</summary>{more}</details>" if more else ""
    return f"<h3>{WORST_TITLES[direction]}</h3>{''.join(drawn[:MAX_OPEN])}{folded}"


def draw_attention(scored: Scored, album: Album, boxes: npt.NDArray[np.float32], examples: Sequence[Example]) -> str:
    """Draw images with the regions that words attend to.

    Args:
        scored: Scores and ranks of a split.
        album: Thumbnails of the split.
        boxes: (I, R, 4) region boxes, xyxy in [0, 1].
        examples: Pairs to draw.
    """
    parts = []
    for example in examples:
        words = "".join(
            f"<li>{album.draw(example.image, _marks(boxes[example.image], word, album.size(example.image)))}"
            f"<b>{escape(word.text)}</b>max. weight {100 * max(word.weights):.0f} %</li>"
            for word in example.words
        )
        caption = escape(scored.split.captions[example.caption])
        identity = escape(scored.split.image_ids[example.image])
        parts.append(
            f'<article class="query"><div><p class="asked">{caption}</p><p class="note">{identity}, '
            f'{escape(example.title)}</p><ol class="answers six">{words}</ol></div></article>'
        )
    return "".join(parts)


def _query(scored: Scored, album: Album, query: Query) -> str:
    asks_with_picture = query.direction == "i2t"
    named = escape(name_of(scored, "t2i" if asks_with_picture else "i2t", query.item))
    asked = f"<p>{named}</p>" if asks_with_picture else f'<p class="asked">{_caption(scored, query.item)}</p>'
    picture = album.draw(query.item) if asks_with_picture and album.has(query.item) else ""
    right = _answer(scored, album, query.direction, query.right, f"correct, rank {query.rank:,}")
    answers = "".join(
        _answer(scored, album, query.direction, answer, f"rank {rank}") for rank, answer in enumerate(query.answers, 1)
    )
    kind = "six" if not asks_with_picture and album.has(query.right.item) else "captions"
    return (
        f'<article class="query">{picture}<div>{asked}<ol class="answers {kind}">{right}{answers}</ol></div></article>'
    )


def _answer(scored: Scored, album: Album, direction: str, answer: Answer, label: str) -> str:
    kind = ' class="right"' if answer.right else ""
    return f"<li{kind}>{_item(scored, album, direction, answer.item)}<b>{label}</b> score {answer.score:.3f}</li>"


def _item(scored: Scored, album: Album, direction: str, item: int) -> str:
    """Draw an image with its id, or its caption if it has no thumbnail; or a caption with its id."""
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
    """Draw the R@1 of the slice as a bar and that of the others as a mark, from 0 to 100 %."""
    return (
        f'<svg class="bar" viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="200" height="12"/><rect class="fill" width="{2 * made.recall:.1f}" height="12"/>'
        f'<rect class="mark" x="{2 * made.others - 1:.1f}" width="2" height="12"/></svg>'
    )


def _marks(boxes: npt.NDArray[np.float32], word: WordAttention, size: tuple[int, int]) -> str:
    """Draw the regions with the largest weights; smaller weights are fainter."""
    width, height = size
    weights = np.array(word.weights)[: len(boxes)]
    parts = []
    for region in np.argsort(-weights, kind="stable")[:MAX_BOXES][::-1]:
        share = float(weights[region] / max(weights.max(), 1e-12))
        if share <= 0:
            continue
        left, top, right, bottom = boxes[region].tolist()
        parts.append(
            f'<rect class="look" x="{left * width:.1f}" y="{top * height:.1f}" width="{(right - left) * width:.1f}" '
            f'height="{(bottom - top) * height:.1f}" opacity="{max(share, 0.15):.2f}"/>'
        )
    return f'<rect class="veil" width="{width}" height="{height}"/>{"".join(parts)}'
