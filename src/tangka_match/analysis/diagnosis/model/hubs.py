"""Hubs: gallery items that are among the top answers of disproportionately many queries."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.analysis.comparison import signed
from tangka_match.analysis.diagnosis.finding import Finding
from tangka_match.analysis.diagnosis.model.scored import Scored
from tangka_match.analysis.significance import Difference, compare_ranks
from tangka_match.retrieval.answers import first_answers

K = 10
"""Top answers counted by the k-occurrence."""
MAX_LISTED = 10
"""Hubs listed per direction."""
MIN_FIRST = 3
"""Fewest queries that a hub is the first answer of."""
MAX_EXCESS = 10.0
"""Percentage of incorrectly answered queries with one first answer above which it is a warning; above 50, a fault."""
MIN_GAIN = 2.0
"""Significant gain of mean R@1 by a hubness correction (points) from which a warning is reported."""
RESAMPLES = 2_000
NOUNS = {"i2t": ("caption", "images"), "t2i": ("image", "captions")}


@dataclass(frozen=True, eq=False)
class Hubs:
    """k-occurrences of the G items of a gallery.

    Args:
        first: (G,) number of queries that rank each item first, N₁.
        among: (G,) number of queries with the item in the top ten, N₁₀.
        queries: Number of queries Q.
    """

    first: Int[Tensor, " G"]
    among: Int[Tensor, " G"]
    queries: int

    @property
    def skewness(self) -> float:
        """Skewness of N₁₀, the usual measure of hubness."""
        return skewness(self.among)

    @property
    def unanswered(self) -> float:
        """Percentage of items that no query ranks first."""
        return 100.0 * (self.first == 0).double().mean().item()

    def strongest(self, count: int = MAX_LISTED) -> list[int]:
        """Return the items that most queries rank first, by N₁ and then N₁₀."""
        return sorted(range(len(self.first)), key=lambda g: (-int(self.first[g]), -int(self.among[g]), g))[:count]


def find_hubs(scored: Scored, direction: str, counted: Hubs) -> list[int]:
    """Return the items ranked first by at least ``MIN_FIRST`` queries, and by more than they match; strongest first.

    Args:
        scored: Scores and ranks of a split.
        direction: ``i2t`` or ``t2i``.
        counted: k-occurrences of this direction.
    """
    own = scored.direction(direction)[1].sum(dim=0)
    return [item for item in counted.strongest() if counted.first[item] >= max(MIN_FIRST, int(own[item]) + 1)]


def k_occurrence(scores: Float[Tensor, "Q G"], k: int) -> Int[Tensor, " G"]:
    """Count the queries with each item in their top ``k``, N_k.

    Radovanović, Nanopoulos, Ivanović: "Hubs in Space", JMLR 11 (2010), section 2. The mean is k · Q / G.

    >>> k_occurrence(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.4]]), 1).tolist()
    [2, 1]
    """
    return torch.bincount(first_answers(scores, k).flatten(), minlength=scores.shape[1])


def skewness(counts: Int[Tensor, " G"]) -> float:
    """Compute the third standardised moment; near 0 without hubs, above 1 with hubs.

    >>> skewness(torch.tensor([0, 0, 0, 4])), skewness(torch.tensor([1, 1]))
    (1.154..., 0.0)
    """
    centred = counts.double() - counts.double().mean()
    spread = centred.square().mean().sqrt()
    return (centred.pow(3).mean() / spread**3).item() if spread > 0 else 0.0


def count_hubs(scored: Scored) -> dict[str, Hubs]:
    """Compute the k-occurrences of both directions."""
    found = {}
    for direction in NOUNS:
        scores = scored.direction(direction)[0]
        k = min(K, scores.shape[1])
        found[direction] = Hubs(k_occurrence(scores, 1), k_occurrence(scores, k), len(scores))
    return found


def judge_hubs(scored: Scored, hubs: Mapping[str, Hubs]) -> tuple[list[Finding], dict[str, Difference]]:
    """Report the recall lost to hubs, and single items that dominate the answers.

    The loss is at least the gain of a correction that does not use the test queries: query-bank normalisation or NNN
    with training queries, whichever gains more. It is reported if the 95 % interval of the gain in mean R@1, by the
    paired permutation test, is above 0.

    Args:
        scored: Scores and ranks of a split.
        hubs: k-occurrences, as returned by `count_hubs`.

    Returns:
        Findings, and the gain of each correction.
    """
    gains = {
        name: compare_ranks([scored.ranks], [ranks], scored.owners, RESAMPLES)["mean_r1"]
        for name, ranks in scored.corrected.items()
    }
    findings = []
    if gains:
        name = max(gains, key=lambda key: gains[key].difference)
        gain = gains[name]
        if gain.low > 0:
            findings.append(_cost(name, gain))
    for direction, counted in hubs.items():
        findings += _dominant(scored, direction, counted)
    return findings, gains


def name_of(scored: Scored, direction: str, item: int) -> str:
    """Return the id of an answer: the image id, or ``caption n`` by its line in the file."""
    return scored.split.image_ids[item] if direction == "t2i" else f"caption {item + 1}"


def _cost(name: str, gain: Difference) -> Finding:
    return Finding(
        "hubs",
        "warning" if gain.difference >= MIN_GAIN else "info",
        f"hubness correction with training queries ({name}) changes the mean R@1 from {gain.a:.1f} % to {gain.b:.1f} % "
        f"(difference {signed(gain.difference, 1)}, 95 % interval {signed(gain.low, 1)} … {signed(gain.high, 1)})",
        "hubs are similar to almost every query and rank above the correct answer",
        f"use the correction, which needs no training: tangka_match.evaluate 'hubness=[{name}]' reports it, tuned on "
        "val",
        points=gain.difference,
    )


def _dominant(scored: Scored, direction: str, counted: Hubs) -> list[Finding]:
    item = counted.strongest(1)[0]
    first, own = int(counted.first[item]), int(scored.direction(direction)[1][:, item].sum())
    share, excess = 100.0 * first / counted.queries, 100.0 * (first - own) / counted.queries
    if excess <= MAX_EXCESS or first < MIN_FIRST:
        return []
    item_noun, query_noun = NOUNS[direction]
    named = name_of(scored, direction, item)
    return [
        Finding(
            f"dominant_{item_noun}",
            "fault" if excess > 50 else "warning",
            f"the {item_noun} {named} is the first answer of {first:,} of {counted.queries:,} {query_noun} "
            f"({share:.0f} %); it matches {own:,} of them",
            f"all other {query_noun} with this first answer are answered incorrectly",
            "inspect it: a blank or very common image, or a caption of function words only; if it is neither, train "
            "longer or use a hubness correction",
            points=excess,
            ids=tuple(name_of(scored, direction, hub) for hub in counted.strongest()),
        )
    ]
