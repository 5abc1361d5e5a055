"""Which captions and queries a model fails on."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tangka_match.analysis.diagnosis.finding import Finding
from tangka_match.analysis.diagnosis.model.hubs import name_of
from tangka_match.analysis.diagnosis.model.scored import Scored
from tangka_match.analysis.diagnosis.power import half_width
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.data.word_classes import word_kinds
from tangka_match.retrieval.answers import Answer, list_answers

FEWEST = 20
"""Captions that a slice, and what is left beside it, must have."""
RARE = 2
"""Times a word occurs in training at most, to be called rare."""
LEVEL = 0.05
"""Chance of a false alarm over all slices of one sort together (Bonferroni)."""
TOLD = 1.0
"""Points of R@1 that a slice must cost for a finding."""
UNKNOWN, SELDOM = "words the model does not know", f"words seen at most {RARE} times in training"


@dataclass(frozen=True)
class Slice:
    """Some captions against all others.

    Args:
        name: What they have in common.
        captions: How many they are.
        recall: Their R@1, text→image, in percent.
        others: That of all other captions.
        p: Chance that two equal groups differ as much, by a z-test whose error is clustered by image.
        images: Images that the captions belong to: captions of one image succeed and fail together.
    """

    name: str
    captions: int
    recall: float
    others: float
    p: float
    images: int

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval of ``recall``, in points; as wide as that of one caption an image."""
        return half_width(self.recall, self.images)

    def points(self, total: int) -> float:
        """Points of R@1 that all captions together would win if these were found as often as the others."""
        return (self.others - self.recall) * self.captions / total


def slice_of(
    name: str, member: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_], owners: npt.NDArray[np.int64]
) -> Slice | None:
    """Compare the captions of a slice with the others; ``None`` where either side has too few.

    Args:
        name: Of the slice.
        member: (C,) which captions are in it.
        found: (C,) which captions find their image first.
        owners: (C,) the image of each caption.

    >>> member = np.arange(60) < 20
    >>> made = slice_of("short", member, ~member, owners=np.arange(60))
    >>> made.recall, made.others, made.p < 1e-9, made.points(60)
    (0.0, 100.0, True, 33.33...)
    """
    inside, outside = int(member.sum()), int((~member).sum())
    if min(inside, outside) < FEWEST:
        return None
    recall, others = float(found[member].mean()), float(found[~member].mean())
    # The captions of one image are no independent draws: errors clustered by image (Liang and Zeger 1986).
    pull = (found - found.mean()) * np.where(member, 1 / inside, -1 / outside)
    error = sqrt(float((np.bincount(owners, pull) ** 2).sum()))
    p = erfc(abs(recall - others) / error / sqrt(2)) if error > 0 else 1.0
    return Slice(name, inside, 100 * recall, 100 * others, p, len(np.unique(owners[member])))


def by_length(
    words: Sequence[Sequence[str]], found: npt.NDArray[np.bool_], owners: npt.NDArray[np.int64]
) -> list[Slice]:
    """Captions in four groups of about the same size, from the shortest to the longest."""
    lengths = np.array([len(caption) for caption in words])
    edges = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75], method="lower"))
    group = np.searchsorted(edges, lengths)
    slices = []
    for number in np.unique(group):
        member = group == number
        low, high = int(lengths[member].min()), int(lengths[member].max())
        name = f"{low} words" if low == high else f"{low} to {high} words"
        slices.append(slice_of(name, member, found, owners))
    return [made for made in slices if made is not None]


def by_kind(
    words: Sequence[Sequence[str]],
    found: npt.NDArray[np.bool_],
    owners: npt.NDArray[np.int64],
    vocabulary: Vocabulary,
    seen: Mapping[str, int],
) -> list[Slice]:
    """Captions that hold a word of a kind, against those that hold none; the worst first.

    Kinds are the classes of the Thangka dictionary, for other words jieba's parts of speech; beside them, words that
    the model does not know, and words that training hardly showed it.

    Args:
        words: Of each caption.
        found: (C,) which captions find their image first.
        owners: (C,) the image of each caption.
        vocabulary: What the model knows.
        seen: How often each word stands in the training captions.
    """
    kinds = word_kinds(word for caption in words for word in caption)
    tests: dict[str, Callable[[str], bool]] = {
        UNKNOWN: lambda word: word not in vocabulary,
        SELDOM: lambda word: word in vocabulary and seen.get(word, 0) <= RARE,
    }
    tests |= {kind: lambda word, kind=kind: kinds.get(word) == kind for kind in sorted(set(kinds.values()))}  # type: ignore[misc]
    slices = []
    for name, holds in tests.items():
        member = np.array([any(map(holds, caption)) for caption in words])
        slices.append(slice_of(name, member, found, owners))
    return sorted((made for made in slices if made is not None), key=lambda made: made.recall - made.others)


def worst_words(
    words: Sequence[Sequence[str]],
    found: npt.NDArray[np.bool_],
    owners: npt.NDArray[np.int64],
    count: int = 12,
) -> list[Slice]:
    """Words whose captions fail most, among those that at least ``FEWEST`` captions hold."""
    holders = Counter(word for caption in words for word in set(caption))
    frequent = sorted(word for word, number in holders.items() if number >= FEWEST)
    slices = (slice_of(word, np.array([word in caption for caption in words]), found, owners) for word in frequent)
    failing = [made for made in slices if made is not None and made.recall < made.others]
    return sorted(failing, key=lambda made: (made.p, made.name))[:count]


def judge_slices(code: str, slices: Sequence[Slice], captions: int, do: str) -> list[Finding]:
    """Slices that fail for certain, of one sort.

    Args:
        code: Of the findings.
        slices: All that were looked at.
        captions: Of the split.
        do: What to do about it.
    """
    failing = [
        made
        for made in slices
        if made.recall < made.others and made.p < LEVEL / len(slices) and made.points(captions) >= TOLD
    ]
    return [
        Finding(
            code,
            "info",
            f"captions with {made.name} find their image first in {made.recall:.1f} % (± {made.half_width:.1f}; "
            f"{made.captions:,} captions), all others in {made.others:.1f} %",
            "these captions are where the model fails; the difference is one of captions and may have another cause "
            "that they share",
            do,
            points=made.points(captions),
        )
        for made in failing
    ]


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
