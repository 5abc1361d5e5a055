"""Nearest-neighbour search by inner product: exact, in blocks of the gallery."""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

BLOCK_ROWS = 2**18
"""Rows of the gallery scored at once: 1 MB of scores per query."""


class Hits(NamedTuple):
    """Best items of each query, best first.

    Attributes:
        rows: Rows of the items, (Q, K) int64.
        scores: Their scores, (Q, K) float32.
    """

    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


class Engine(Protocol):
    """Search of the items with the largest inner product."""

    is_exact: bool

    def search(self, queries: npt.NDArray[np.float32], top: int) -> Hits:
        """Find the ``top`` best items of each query, (Q, D)."""
        ...


class ExactSearch:
    """Exact search by matrix product; ties rank as in `metrics.retrieval_ranks`, the higher row first.

    Args:
        vectors: Vectors of the gallery, (N, D) float32, usually memory-mapped.

    Example:
        >>> gallery = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=np.float32)
        >>> ExactSearch(gallery).search(np.array([[0.9, 0.1]], dtype=np.float32), top=2).rows.tolist()
        [[2, 0]]
    """

    is_exact = True

    def __init__(self, vectors: npt.NDArray[np.float32]) -> None:
        self._vectors = np.asarray(vectors)  # indexing a np.memmap is slow

    def search(self, queries: npt.NDArray[np.float32], top: int) -> Hits:
        """Find the ``top`` best items of each query, (Q, D); fewer if the gallery is smaller."""
        rows, scores = [], []
        for query in np.ascontiguousarray(queries, dtype=np.float32):
            best = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
            for start in range(0, len(self._vectors), BLOCK_ROWS):
                found = self._vectors[start : start + BLOCK_ROWS] @ query
                kept = best_rows(found, top)
                best = np.concatenate([best[0], kept + start]), np.concatenate([best[1], found[kept]])
            order = best_rows(best[1], top, best[0])
            rows.append(best[0][order])
            scores.append(best[1][order])
        return Hits(np.stack(rows), np.stack(scores))


def best_rows(
    scores: npt.NDArray[np.float32], top: int, ties: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.int64]:
    """Return the places of the ``top`` largest scores, best first; of equal scores the later one first.

    Args:
        scores: Scores, (N,).
        top: Maximum number of places.
        ties: Values that order equal scores, largest first; the place itself if ``None``.

    Example:
        >>> best_rows(np.array([0.5, 0.9, 0.5, 0.1], dtype=np.float32), 3).tolist()
        [1, 2, 0]
    """
    places = np.arange(len(scores))
    if top < len(scores):
        places = places[scores >= np.partition(scores, len(scores) - top)[len(scores) - top]]
    order = np.lexsort((-(places if ties is None else ties[places]), -scores[places]))
    return places[order[:top]]
