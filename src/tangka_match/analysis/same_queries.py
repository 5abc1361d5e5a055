"""Ranks of several models brought into one order of queries."""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from tangka_match.errors import DataFormatError
from tangka_match.metrics import Ranks
from tangka_match.retrieval.ranks_table import Query


def in_one_order(tables: Mapping[Path, Mapping[Query, int]]) -> tuple[dict[Path, Ranks], Int[Tensor, " C"]]:
    """Bring every table into the order of the first.

    Args:
        tables: What `read_ranks_table` returned for each file; at least one.

    Returns:
        The ranks of each, and the row of every caption's image, (C,).

    Raises:
        DataFormatError: If a table has other queries than the first; the message names the first that differs.

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
                f"({len(order):,} and {len(table):,} queries): models are compared on the same queries; "
                "evaluate both on the same data and split"
            )
