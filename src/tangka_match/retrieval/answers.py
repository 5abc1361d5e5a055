"""The items that a query got, the best first."""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor


class Answer(NamedTuple):
    """One item that a query got.

    Args:
        item: Its row: of an image for caption queries, of a caption for image queries.
        score: Its score.
        right: Whether it belongs to the query.
    """

    item: int
    score: float
    right: bool


def first_answers(scores: Float[Tensor, "Q G"], k: int) -> Int[Tensor, "Q K"]:
    """The ``k`` best columns of every row, the best first; equal scores as ``metrics.retrieval_ranks`` has them.

    >>> import torch
    >>> first_answers(torch.tensor([[0.1, 0.9, 0.5], [0.2, 0.2, 0.1]]), 2).tolist()
    [[1, 2], [1, 0]]
    """
    last = scores.shape[1] - 1
    return last - scores.flip(1).sort(dim=1, descending=True, stable=True).indices[:, :k]


def list_answers(scores: Float[Tensor, "Q G"], own: Bool[Tensor, "Q G"], k: int) -> list[tuple[Answer, ...]]:
    """The first ``k`` answers of every query.

    Args:
        scores: Of every query, a row, with every item.
        own: ``True`` where an item belongs to a query.
        k: Answers a query, at most.
    """
    first = first_answers(scores, k)
    rows = zip(first.tolist(), scores.gather(1, first).tolist(), own.gather(1, first).tolist(), strict=True)
    return [tuple(map(Answer, *row)) for row in rows]
