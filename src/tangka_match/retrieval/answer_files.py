"""Tables of search results: in the terminal, and as CSV."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from tangka_match.data.split import Split
from tangka_match.retrieval.nearest import Hits

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Beginnings of a cell that spreadsheets execute as a formula, full-width forms included (as listed by OWASP)."""


class SearchResult(NamedTuple):
    """Image found by a query.

    Attributes:
        image_id: Id of the image.
        score: Score, higher = closer.
        rank: Rank, from 1.
        caption: First caption of the image.
    """

    image_id: str
    score: float
    rank: int
    caption: str


def list_results(split: Split, hits: Hits) -> Iterator[list[SearchResult]]:
    """Name the images that each query found."""
    first_captions = dict(zip(reversed(split.caption_to_image.tolist()), reversed(split.captions), strict=True))
    for rows, scores in zip(hits.rows.tolist(), hits.scores.tolist(), strict=True):
        yield [
            SearchResult(split.image_ids[row], score, rank, first_captions[row])
            for rank, (row, score) in enumerate(zip(rows, scores, strict=True), 1)
        ]


def results_table(query: str, results: Sequence[SearchResult]) -> Table:
    """Build the terminal table of one query."""
    table = Table(title=_plain(query), caption="gap: score minus that of the next image")
    for heading, side in (("rank", "right"), ("score", "right"), ("gap", "right"), ("image", "left")):
        table.add_column(heading, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("caption of the image", overflow="fold")
    for result, after in zip(results, [*results[1:], None], strict=True):
        gap = "" if after is None else f"{result.score - after.score:.4f}"
        table.add_row(str(result.rank), f"{result.score:.4f}", gap, _plain(result.image_id), _plain(result.caption))
    return table


def write_answers(path: Path, queries: Sequence[str], answers: Sequence[Sequence[SearchResult]]) -> None:
    """Write one row per query and image: ``query``, ``rank``, ``image_id``, ``score``, ``caption``.

    Texts that a spreadsheet would execute as a formula get an apostrophe in front. The file is UTF-8 with a byte order
    mark, without which Excel does not show Chinese.
    """
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("query", "rank", "image_id", "score", "caption"))
        for query, results in zip(queries, answers, strict=True):
            for result in results:
                texts = (inert(query), inert(result.image_id), inert(result.caption))
                writer.writerow((texts[0], result.rank, texts[1], f"{result.score:.6f}", texts[2]))


def inert(text: str) -> str:
    """Return a text that spreadsheets show instead of executing it.

    >>> inert("=HYPERLINK(1)"), inert("莲花")
    ("'=HYPERLINK(1)", '莲花')
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _plain(text: str) -> str:
    """Escape the markup of rich."""
    return text.replace("[", r"\[")
