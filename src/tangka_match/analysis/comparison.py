"""Comparison of two models on the same queries: a table of differences, and a verdict in words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Int
from rich import box
from rich.table import Table
from torch import Tensor

from tangka_match.analysis.significance import ALPHA, LEVEL, METRICS, Difference
from tangka_match.errors import DataFormatError
from tangka_match.metric_names import CUTOFFS, DIRECTION_LABELS, PRIMARY_METRIC
from tangka_match.metrics import Ranks
from tangka_match.retrieval.evaluation_files import Query

LABELS = {
    **{f"{d}_r{k}": f"{name} R@{k} %" for d, name in DIRECTION_LABELS.items() for k in CUTOFFS},
    "i2t_mean_rank": "image→text mean rank",
    "t2i_mean_rank": "text→image mean rank",
    "mean_r1": "mean R@1 %",
    "rsum": "rsum",
}


def in_one_order(tables: Mapping[Path, Mapping[Query, int]]) -> tuple[dict[Path, Ranks], Int[Tensor, " C"]]:
    """Align rank tables: sort the queries of each table like those of the first.

    Args:
        tables: Rank tables by file, as returned by `read_ranks_table`; at least one.

    Returns:
        The ranks by file, and the row of each caption's image, (C,).

    Raises:
        DataFormatError: If the queries of a table differ from those of the first; the message names one of them.

    Example:
        >>> queries = [Query("i2t", "x", "x"), Query("i2t", "y", "y"), Query("t2i", "0", "x"), Query("t2i", "1", "y")]
        >>> tables = {Path("a"): dict(zip(queries, [1, 2, 3, 4])), Path("b"): dict(zip(queries[::-1], [8, 7, 6, 5]))}
        >>> ranks, caption_to_image = in_one_order(tables)
        >>> [part.tolist() for part in ranks[Path("b")]], caption_to_image.tolist()
        ([[5, 6], [7, 8]], [0, 1])
    """
    (first, order), *others = tables.items()
    for path, table in others:
        _check_same(first, order, path, table)
    image_queries = [query for query in order if query.direction == "i2t"]
    caption_queries = [query for query in order if query.direction == "t2i"]
    rows = {query.image: row for row, query in enumerate(image_queries)}
    ranks = {
        path: Ranks(*(torch.tensor([table[query] for query in part]) for part in (image_queries, caption_queries)))
        for path, table in tables.items()
    }
    return ranks, torch.tensor([rows[query.image] for query in caption_queries])


def _check_same(first: Path, order: Mapping[Query, int], path: Path, table: Mapping[Query, int]) -> None:
    for holder, queries, other, known in ((first, order, path, table), (path, table, first, order)):
        odd = next((query for query in queries if query not in known), None)
        if odd is not None:
            raise DataFormatError(
                f"{holder} has the {odd.direction} query {odd.query!r} of image {odd.image!r}, and {other} does not "
                f"({len(order):,} and {len(table):,} queries); a comparison needs the same queries: "
                "evaluate both on the same data and split"
            )


def better(metric: str, found: Difference) -> Literal["a", "b"] | None:
    """Return the better side, or ``None`` if the difference is not statistically significant.

    For ranks, lower is better:

    >>> found = Difference(12.0, 15.0, 3.0, 1.1, 5.2, 0.01)
    >>> better("i2t_mean_rank", found), better("mean_r1", found), better("mean_r1", found._replace(p=0.2))
    ('a', 'b', None)
    """
    if found.p >= ALPHA:
        return None
    higher_wins = not metric.endswith("rank")
    return "b" if (found.difference > 0) == higher_wins else "a"


def verdict(metric: str, found: Difference) -> str:
    """Describe the difference in a metric.

    >>> print(verdict("mean_r1", Difference(37.47, 37.19, -0.28, -4.13, 3.58, 0.888)))
    no significant difference (difference −0.28, 95 % interval −4.1 … +3.6, p = 0.9)
    >>> print(verdict("mean_r1", Difference(37.47, 43.0, 5.53, 2.1, 8.96, 0.0018)))
    b is better by 5.53 (difference +5.53, 95 % interval +2.1 … +9.0, p = 0.002)
    """
    winner = better(metric, found)
    words = "no significant difference" if winner is None else f"{winner} is better by {abs(found.difference):.2f}"
    numbers = f"difference {signed(found.difference, 2)}, {LEVEL:.0%}".replace("%", " %")
    return f"{words} ({numbers} interval {_interval(found)}, p {_p(found.p, equals='= ')})"


def comparison_table(differences: Mapping[str, Difference], *, title: str, caption: str) -> Table:
    """Build a table with one row per metric; the metric of the verdict comes first, in bold.

    Args:
        differences: Differences by metric, as returned by `compare_ranks`.
        title: Title of the table.
        caption: Scope of the intervals and p-values; a note on multiple testing is appended.
    """
    how = (
        f"{caption}. The verdict is about mean R@1, fixed in advance, so its p needs no correction for multiple "
        f"tests; the other {len(METRICS) - 1} rows are exploratory: with so many, one may differ by chance."
    )
    table = Table(title=title, caption=how, box=box.SIMPLE_HEAD, pad_edge=False, padding=0)  # fits 80 columns
    for heading in ("", "a", "b", "b − a", f"{LEVEL:.0%} interval".replace("%", " %"), "p", "better"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for metric in (PRIMARY_METRIC, *(name for name in METRICS if name != PRIMARY_METRIC)):
        found = differences[metric]
        numbers = (f"{found.a:.2f}", f"{found.b:.2f}", signed(found.difference, 2), _interval(found), _p(found.p))
        primary = metric == PRIMARY_METRIC
        table.add_row(
            LABELS[metric], *numbers, better(metric, found) or "–", style="bold" if primary else "", end_section=primary
        )
    return table


def _interval(found: Difference) -> str:
    return f"{signed(found.low, 1)} … {signed(found.high, 1)}"


def signed(value: float, digits: int) -> str:
    """Format a difference with its sign (U+2212 for minus), and 0 without one."""
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def _p(value: float, equals: str = "") -> str:
    """Format a p-value: 0.9, 0.049, 0.002, < 0.001."""
    if value < 0.001:
        return "< 0.001"
    return f"{equals}{value:.{1 if value >= 0.1 else 3}f}"
