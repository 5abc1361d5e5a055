from pathlib import Path

import pytest

from tangka_match.analysis.same_queries import in_one_order
from tangka_match.errors import DataFormatError
from tangka_match.retrieval.ranks_table import Query

A, B, C = Path("a/ranks.csv"), Path("b/ranks.csv"), Path("c/ranks.csv")
QUERIES = (Query("i2t", "x", "x"), Query("i2t", "y", "y"), Query("t2i", "0", "y"), Query("t2i", "1", "x"))


def table(queries=QUERIES):
    return {query: 10 + QUERIES.index(query) if query in QUERIES else 1 for query in queries}


def test_rows_in_another_order():
    ranks, caption_to_image = in_one_order({A: table(), B: table(QUERIES[::-1])})
    assert [part.tolist() for part in ranks[B]] == [part.tolist() for part in ranks[A]] == [[10, 11], [12, 13]]
    assert caption_to_image.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (
            QUERIES[:3],
            r"a/ranks\.csv has the t2i query '1' of image 'x', and c/ranks\.csv does not \(4 and 3 queries\)",
        ),
        ((*QUERIES, Query("t2i", "2", "x")), r"c/ranks\.csv has the t2i query '2' of image 'x', and a/ranks\.csv does"),
        ((*QUERIES[:2], Query("t2i", "0", "x"), QUERIES[3]), r"a/ranks\.csv has the t2i query '0' of image 'y', and c"),
    ],
)
def test_the_first_query_that_differs_is_named(queries, message):
    with pytest.raises(DataFormatError, match=message):
        in_one_order({A: table(), B: table(), C: table(queries)})
