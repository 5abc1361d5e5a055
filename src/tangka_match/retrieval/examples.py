"""A few queries of a split with the answers that a model gives them, for people to read."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.data.split import Split
from tangka_match.metrics import Ranks
from tangka_match.retrieval.answers import Answer, list_answers


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
