"""The queries that a model answers worst, and what it answers instead."""

from dataclasses import dataclass
from typing import Any

import torch

from tangka_match.analysis.diagnosis.model.hubs import name_of
from tangka_match.analysis.diagnosis.model.scored import Scored
from tangka_match.retrieval.answers import Answer, list_answers

WORST = 50
ANSWERS = 5


@dataclass(frozen=True)
class Query:
    """A query, its right answer and its first answers.

    Args:
        direction: ``i2t`` or ``t2i``.
        item: Row of the image or caption that asks.
        rank: Of its best right answer, from 1.
        right: That answer.
        answers: The first five, the best first.
    """

    direction: str
    item: int
    rank: int
    right: Answer
    answers: tuple[Answer, ...]


def worst_queries(scored: Scored, direction: str, count: int = WORST) -> list[Query]:
    """Queries by falling rank of their right answer; among equal ranks by how far the first answer's score is ahead.

    Args:
        scored: The model's view of a split.
        direction: ``i2t`` or ``t2i``.
        count: At most so many; those that are answered rightly are never among them.
    """
    scores, own, ranks = scored.direction(direction)
    right_scores, right_items = scores.masked_fill(~own, float("-inf")).max(dim=1)
    lead = scores.amax(dim=1) - right_scores
    order = sorted(range(len(ranks)), key=lambda query: (-int(ranks[query]), -float(lead[query]), query))
    chosen = [query for query in order if ranks[query] > 1][:count]
    if not chosen:
        return []
    rows = torch.tensor(chosen)
    found = []
    for query, answers in zip(chosen, list_answers(scores[rows], own[rows], ANSWERS), strict=True):
        right = Answer(int(right_items[query]), float(right_scores[query]), right=True)
        found.append(Query(direction, query, int(ranks[query]), right, answers))
    return found


def to_dict(scored: Scored, query: Query) -> dict[str, Any]:
    """Plain values, for JSON: items by their ids."""
    other = "t2i" if query.direction == "i2t" else "i2t"
    return {
        "query": name_of(scored, other, query.item),
        "rank": query.rank,
        "right": name_of(scored, query.direction, query.right.item),
        "score": query.right.score,
        "answers": [
            {"item": name_of(scored, query.direction, answer.item), "score": answer.score, "right": answer.right}
            for answer in query.answers
        ],
    }
