"""Hubs: items that are among the first answers of far too many queries."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.analysis.diagnosis.finding import Finding
from tangka_match.analysis.diagnosis.model.scored import Scored
from tangka_match.analysis.significance import Difference, compare_ranks
from tangka_match.retrieval.answers import first_answers

K = 10
SHOWN = 10
"""Hubs told of, a direction."""
ANSWERS_MUCH = 10.0
"""Percent of all queries that one item answers first, above which it is a warning; above half of them, a fault."""
TOLD = 2.0
"""Points of mean R@1 that a correction must win, beyond chance, for a warning."""
RESAMPLES = 2_000
WORDS = {"i2t": ("caption", "images"), "t2i": ("image", "captions")}


@dataclass(frozen=True, eq=False)
class Hubs:
    """How often the items of a gallery are answers.

    Args:
        first: (G,) how many queries each item answers first, N₁.
        among: (G,) how many queries have it among their first ten, N₁₀.
        queries: Q.
    """

    first: Int[Tensor, " G"]
    among: Int[Tensor, " G"]
    queries: int

    @property
    def skewness(self) -> float:
        """Of N₁₀, the usual measure of hubness."""
        return skewness(self.among)

    @property
    def unanswered(self) -> float:
        """Percent of items that are no query's first answer."""
        return 100.0 * (self.first == 0).double().mean().item()

    def strongest(self, count: int = SHOWN) -> list[int]:
        """Items that answer most queries first, by N₁ and then N₁₀."""
        return sorted(range(len(self.first)), key=lambda g: (-int(self.first[g]), -int(self.among[g]), g))[:count]


def k_occurrence(scores: Float[Tensor, "Q G"], k: int) -> Int[Tensor, " G"]:
    """How many queries have each item among their first ``k`` answers, N_k.

    Radovanović, Nanopoulos, Ivanović: "Hubs in Space", JMLR 11 (2010), section 2. Its mean is k · Q / G.

    >>> k_occurrence(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.4]]), 1).tolist()
    [2, 1]
    """
    return torch.bincount(first_answers(scores, k).flatten(), minlength=scores.shape[1])


def skewness(counts: Int[Tensor, " G"]) -> float:
    """Third standardised moment; about 0 where all items are asked for alike, over 1 where there are hubs.

    >>> skewness(torch.tensor([0, 0, 0, 4])), skewness(torch.tensor([1, 1]))
    (1.154..., 0.0)
    """
    centred = counts.double() - counts.double().mean()
    spread = centred.square().mean().sqrt()
    return (centred.pow(3).mean() / spread**3).item() if spread > 0 else 0.0


def count_hubs(scored: Scored) -> dict[str, Hubs]:
    """Count the answers of both directions."""
    found = {}
    for direction in WORDS:
        scores = scored.direction(direction)[0]
        k = min(K, scores.shape[1])
        found[direction] = Hubs(k_occurrence(scores, 1), k_occurrence(scores, k), len(scores))
    return found


def judge_hubs(scored: Scored, hubs: Mapping[str, Hubs]) -> tuple[list[Finding], dict[str, Difference]]:
    """What hubs cost, and whether one item answers far too much.

    The cost is at least what a correction wins that knows nothing of the test queries: query-bank normalisation or
    NNN with training queries, whichever wins more. It counts where the 95 % interval of the gain in mean R@1, by the
    paired permutation test, is above 0.

    Args:
        scored: The model's view of a split.
        hubs: As ``count_hubs`` found them.

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
    """Id of an answer: an image's, or ``caption n`` by its line in the file."""
    return scored.split.image_ids[item] if direction == "t2i" else f"caption {item + 1}"


def _cost(name: str, gain: Difference) -> Finding:
    return Finding(
        "hubs",
        "warning" if gain.difference >= TOLD else "info",
        f"corrected for hubs with training queries ({name}) the mean R@1 is {gain.b:.1f} % instead of {gain.a:.1f} % "
        f"(difference {gain.difference:+.1f}, 95 % interval {gain.low:+.1f} … {gain.high:+.1f})",
        "some items are near to everything and stand before the right answer of queries that do not mean them",
        f"search with the correction: tangka_match.evaluate 'hubness=[{name}]' reports it, tuned on val; it needs no "
        "training",
        points=gain.difference,
    )


def _dominant(scored: Scored, direction: str, counted: Hubs) -> list[Finding]:
    item = counted.strongest(1)[0]
    first, own = int(counted.first[item]), int(scored.direction(direction)[1][:, item].sum())
    share, excess = 100.0 * first / counted.queries, 100.0 * (first - own) / counted.queries
    if excess <= ANSWERS_MUCH or first < 3:
        return []
    one, asking = WORDS[direction]
    named = name_of(scored, direction, item)
    return [
        Finding(
            f"dominant_{one}",
            "fault" if excess > 50 else "warning",
            f"the {one} {named} is the first answer of {first:,} of {counted.queries:,} {asking} "
            f"({share:.0f} %); {own:,} would be its share",
            f"of those {asking} at most the ones that belong to it are answered rightly",
            "see what it shows: a blank or a very common picture, a caption of function words alone; if it is neither, "
            "training is close to collapse",
            points=excess,
            ids=tuple(name_of(scored, direction, hub) for hub in counted.strongest()),
        )
    ]
