import numpy as np
import pytest

from tangka_match.retrieval import nearest
from tangka_match.retrieval.nearest import ExactSearch, best_rows


def naive(vectors, query, top):
    scores = (vectors @ query).tolist()
    return sorted(range(len(scores)), key=lambda row: (-scores[row], -row))[:top]


@pytest.mark.parametrize("block", [1, 3, 7, 1000])
def test_search_equals_sorting_all_scores(monkeypatch, block):
    monkeypatch.setattr(nearest, "BLOCK_ROWS", block)
    draw = np.random.default_rng(0)
    vectors = draw.integers(-2, 3, size=(50, 4)).astype(np.float32)  # many ties
    queries = draw.integers(-2, 3, size=(9, 4)).astype(np.float32)
    for top in (1, 5, 50):
        hits = ExactSearch(vectors).search(queries, top)
        assert hits.rows.tolist() == [naive(vectors, query, top) for query in queries]
        assert np.array_equal(hits.scores, np.take_along_axis(queries @ vectors.T, hits.rows, axis=1))


def test_gallery_smaller_than_top():
    assert ExactSearch(np.eye(3, dtype=np.float32)).search(np.eye(3, dtype=np.float32)[:1], 10).rows.shape == (1, 3)


def test_equal_scores_put_the_later_row_first():
    assert best_rows(np.zeros(5, np.float32), 2).tolist() == [4, 3]
    assert best_rows(np.zeros(3, np.float32), 2, ties=np.array([9, 1, 5])).tolist() == [0, 2]
