"""Failures of a model: slices of captions with low recall, and the queries with the worst ranks."""

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
from tangka_match.analysis.diagnosis.power import format_interval, recall_interval
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.data.word_classes import word_kinds
from tangka_match.retrieval.answers import Answer, list_answers

MIN_CAPTIONS = 20
"""Fewest captions of a slice, and of its complement."""
MIN_FAILURES = 5
"""Fewest captions with a word that must fail for the word to be listed: fewer say nothing about the word."""
RARE = 2
"""Most occurrences in training of a word that counts as rare."""
LEVEL = 0.05
"""Family-wise error rate over all slices of a kind (Bonferroni)."""
MIN_LOSS = 1.0
"""Loss of R@1 due to a slice (points) from which the slice is reported."""
OUT_OF_VOCABULARY, RARE_WORDS = "out-of-vocabulary words", f"words seen at most {RARE} times in training"
MAX_WORST = 50
"""Worst queries reported per direction."""
MAX_ANSWERS = 5
"""Answers reported per query."""


@dataclass(frozen=True)
class Slice:
    """Subset of the captions, compared with all other captions.

    Args:
        name: Property that the captions share.
        captions: Number of captions.
        recall: Text→image R@1 of the slice, in percent.
        others: Text→image R@1 of all other captions, in percent.
        p: p-value of the difference, by a z-test with standard errors clustered by image.
        images: Number of images of these captions; captions of an image are correlated.
    """

    name: str
    captions: int
    recall: float
    others: float
    p: float
    images: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of ``recall`` (percent), as with one caption per image."""
        return recall_interval(self.recall, self.images)

    @property
    def failures(self) -> int:
        """Number of captions of the slice that do not rank their image first."""
        return round(self.captions * (1 - self.recall / 100))

    def points(self, total: int) -> float:
        """Gain in the R@1 of all ``total`` captions, in points, if the slice had the recall of the others."""
        return (self.others - self.recall) * self.captions / total


def slice_of(
    name: str, member: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_], owners: npt.NDArray[np.int64]
) -> Slice | None:
    """Compare the captions of a slice with the others; ``None`` if either side has too few.

    Args:
        name: Name of the slice.
        member: (C,) ``True`` for captions in the slice.
        found: (C,) ``True`` for captions that rank their image first.
        owners: (C,) image of each caption.

    >>> member = np.arange(60) < 20
    >>> made = slice_of("short", member, ~member, owners=np.arange(60))
    >>> made.recall, made.others, made.p < 1e-9, made.points(60)
    (0.0, 100.0, True, 33.33...)
    """
    inside, outside = int(member.sum()), int((~member).sum())
    if min(inside, outside) < MIN_CAPTIONS:
        return None
    recall, others = float(found[member].mean()), float(found[~member].mean())
    # Captions of an image are correlated, hence standard errors clustered by image (Liang and Zeger 1986).
    influence = (found - found.mean()) * np.where(member, 1 / inside, -1 / outside)
    error = sqrt(float((np.bincount(owners, influence) ** 2).sum()))
    p = erfc(abs(recall - others) / error / sqrt(2)) if error > 0 else 1.0
    return Slice(name, inside, 100 * recall, 100 * others, p, len(np.unique(owners[member])))


def by_length(
    words: Sequence[Sequence[str]], found: npt.NDArray[np.bool_], owners: npt.NDArray[np.int64]
) -> list[Slice]:
    """Divide the captions into four groups of about the same size, from the shortest to the longest."""
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
    """Compare captions that contain a kind of word with those that do not; the worst kind first.

    Kinds are the classes of the Thangka dictionary and, for other words, jieba's parts of speech; also
    out-of-vocabulary words and words that are rare in training.

    Args:
        words: Words of each caption.
        found: (C,) ``True`` for captions that rank their image first.
        owners: (C,) image of each caption.
        vocabulary: Vocabulary of the model.
        seen: Number of occurrences of each word in the training captions.
    """
    kinds = word_kinds(word for caption in words for word in caption)
    tests: dict[str, Callable[[str], bool]] = {
        OUT_OF_VOCABULARY: lambda word: not vocabulary.knows(word),
        RARE_WORDS: lambda word: word in vocabulary and seen.get(word, 0) <= RARE,
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
    """Find the words whose captions fail most, with ``MIN_CAPTIONS`` captions and ``MIN_FAILURES`` failures or more."""
    holders = Counter(word for caption in words for word in set(caption))
    frequent = sorted(word for word, number in holders.items() if number >= MIN_CAPTIONS)
    slices = (slice_of(word, np.array([word in caption for caption in words]), found, owners) for word in frequent)
    failing = [
        made for made in slices if made is not None and made.recall < made.others and made.failures >= MIN_FAILURES
    ]
    return sorted(failing, key=lambda made: (made.p, made.name))[:count]


def judge_slices(code: str, slices: Sequence[Slice], captions: int, do: str) -> list[Finding]:
    """Report the slices with a significantly lower recall.

    Args:
        code: Code of the findings.
        slices: All slices of a kind.
        captions: Number of captions of the split.
        do: Remedy.
    """
    failing = [
        made
        for made in slices
        if made.recall < made.others and made.p < LEVEL / len(slices) and made.points(captions) >= MIN_LOSS
    ]
    return [
        Finding(
            code,
            "info",
            f"captions with {made.name} have an R@1 of {made.recall:.1f} % (95 % interval "
            f"{format_interval(made.interval)}; {made.captions:,} captions), all others {made.others:.1f} %",
            "the model fails on these captions more often; the cause may be another property that they share",
            do,
            points=made.points(captions),
        )
        for made in failing
    ]


@dataclass(frozen=True)
class Query:
    """Query with its correct answer and its top answers.

    Args:
        direction: ``i2t`` or ``t2i``.
        item: Row of the query image or caption.
        rank: Rank of its best correct answer, from 1.
        right: Best correct answer.
        answers: Top five answers, best first.
    """

    direction: str
    item: int
    rank: int
    right: Answer
    answers: tuple[Answer, ...]


def worst_queries(scored: Scored, direction: str, count: int = MAX_WORST) -> list[Query]:
    """Return the queries with the worst ranks; ties are sorted by the score lead of the first answer.

    Args:
        scored: Scores and ranks of a split.
        direction: ``i2t`` or ``t2i``.
        count: Largest number of queries; queries answered correctly are excluded.
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
    for query, answers in zip(chosen, list_answers(scores[rows], own[rows], MAX_ANSWERS), strict=True):
        right = Answer(int(right_items[query]), float(right_scores[query]), right=True)
        found.append(Query(direction, query, int(ranks[query]), right, answers))
    return found


def to_dict(scored: Scored, query: Query) -> dict[str, Any]:
    """Return plain values for JSON, with items by their ids."""
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
