"""The answers of a query, the best first, and a few queries as examples for people to read."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.data.split import Split
from tangka_match.metrics import Ranks


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


class Example(NamedTuple):
    """A query and what it got.

    Args:
        query: Number of the image or caption that asks.
        rank: Of its best right answer, from 1.
        answers: The best first.
    """

    query: int
    rank: int
    answers: tuple[Answer, ...]


class Examples(NamedTuple):
    """Queries of both directions."""

    i2t: list[Example]
    t2i: list[Example]


def pick_examples(
    similarity: Float[Tensor, "I C"], ranks: Ranks, split: Split, queries: int = 16, answers: int = 5
) -> Examples:
    """Take queries at even distances through a split, so that every model is shown the same ones.

    Args:
        similarity: Scores, (I, C).
        ranks: Of the full gallery.
        split: Where images and captions come from.
        queries: At most so many a direction.
        answers: At most so many a query.
    """
    own = torch.as_tensor(split.caption_to_image)[None, :] == torch.arange(split.num_images)[:, None]
    return Examples(
        i2t=_direction(similarity, own, ranks.i2t, queries, answers),
        t2i=_direction(similarity.T, own.T, ranks.t2i, queries, answers),
    )


def _direction(scores: Tensor, own: Tensor, ranks: Tensor, queries: int, answers: int) -> list[Example]:
    picked = torch.linspace(0, len(scores) - 1, min(queries, len(scores))).round().long()
    found = list_answers(scores[picked], own[picked], answers)
    return [Example(*row) for row in zip(picked.tolist(), ranks[picked].tolist(), found, strict=True)]
