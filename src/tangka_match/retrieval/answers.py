"""Ranked answers of each query, and example queries for people to read.

A separate module, because W&B tables, diagnosis pages and ``ranks.csv`` all use it.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.data.split import Split
from tangka_match.metrics import Ranks
from tangka_match.metrics.ranks import rank_order


class Answer(NamedTuple):
    """One ranked item of a query.

    Attributes:
        item: Row of the image for caption queries, index of the caption for image queries.
        score: Score of the item.
        right: Whether the item is a correct answer.
    """

    item: int
    score: float
    right: bool


class Example(NamedTuple):
    """A query and its best answers.

    Attributes:
        query: Row of the image or index of the caption.
        rank: Rank of the best correct answer, from 1.
        answers: Answers, best first.
    """

    query: int
    rank: int
    answers: tuple[Answer, ...]


class Examples(NamedTuple):
    """Example queries of both directions."""

    i2t: list[Example]
    t2i: list[Example]


class Pairs(Protocol):
    """Images and the captions that belong to them: a `Split`, or `GivenScores`."""

    @property
    def caption_to_image(self) -> npt.NDArray[np.int64]:
        """Row of each caption's image, (C,)."""
        ...

    @property
    def image_ids(self) -> Sequence[str]:
        """Ids of the images."""
        ...

    @property
    def num_images(self) -> int:
        """Number of images, I."""
        ...


def own_pairs(split: Pairs) -> Bool[Tensor, "I C"]:
    """Mark the captions of each image: ``True`` where row image owns column caption."""
    return torch.as_tensor(split.caption_to_image)[None, :] == torch.arange(split.num_images)[:, None]


def first_answers(scores: Float[Tensor, "Q G"], k: int) -> Int[Tensor, "Q K"]:
    """Find the ``k`` best columns of each row, best first; ties rank as in `metrics.retrieval_ranks`.

    Args:
        scores: Scores, (Q, G): rows queries, columns the gallery.
        k: Maximum number of answers per query.

    Example:
        >>> import torch
        >>> first_answers(torch.tensor([[0.1, 0.9, 0.5], [0.2, 0.2, 0.1]]), 2).tolist()
        [[1, 2], [1, 0]]
    """
    return rank_order(scores)[:, :k]


def list_answers(scores: Float[Tensor, "Q G"], own: Bool[Tensor, "Q G"], k: int) -> list[tuple[Answer, ...]]:
    """List the ``k`` best answers of each query, in the order of `first_answers`.

    Args:
        scores: Scores, (Q, G): rows queries, columns the gallery.
        own: Correct answers, (Q, G).
        k: Maximum number of answers per query.
    """
    first = first_answers(scores, k)
    rows = zip(first.tolist(), scores.gather(1, first).tolist(), own.gather(1, first).tolist(), strict=True)
    return [tuple(map(Answer, *row)) for row in rows]


def pick_examples(
    similarity: Float[Tensor, "I C"], ranks: Ranks, split: Split, queries: int = 16, answers: int = 5
) -> Examples:
    """Pick evenly spaced queries of a split, the same ones for every model.

    Args:
        similarity: Scores of the split, (I, C).
        ranks: Ranks in the full gallery.
        split: Split that the scores belong to.
        queries: Maximum number of queries per direction.
        answers: Maximum number of answers per query.
    """
    own = own_pairs(split)
    return Examples(
        i2t=_examples(similarity, own, ranks.i2t, queries, answers),
        t2i=_examples(similarity.T, own.T, ranks.t2i, queries, answers),
    )


def _examples(scores: Tensor, own: Tensor, ranks: Tensor, queries: int, answers: int) -> list[Example]:
    picked = torch.linspace(0, len(scores) - 1, min(queries, len(scores))).round().long()
    found = list_answers(scores[picked], own[picked], answers)
    return [Example(*row) for row in zip(picked.tolist(), ranks[picked].tolist(), found, strict=True)]
