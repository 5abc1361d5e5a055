"""Every recipe against the best one, on the queries that both answered."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tangka_match.analysis.comparison_report import PRIMARY, better
from tangka_match.analysis.runs.record import RunRecord
from tangka_match.analysis.runs.seeds import Recipe, best_first
from tangka_match.analysis.same_queries import in_one_order
from tangka_match.analysis.significance import Difference, compare_ranks
from tangka_match.errors import TangkaMatchError
from tangka_match.retrieval.ranks_table import read_ranks_table


class Verdict(NamedTuple):
    """What a comparison of two recipes said.

    Attributes:
        a: The runs of the best recipe.
        b: The runs of the other.
        found: Difference of mean R@1; ``None`` where the two cannot be compared.
        better: ``a``, ``b`` or ``None``.
        reason: Why they cannot be compared.
    """

    a: tuple[RunRecord, ...]
    b: tuple[RunRecord, ...]
    found: Difference | None
    better: str | None
    reason: str | None


def compare_with_best(
    recipes: Sequence[Recipe], most: int, resamples: int, advance: Callable[[], None] = lambda: None
) -> list[Verdict]:
    """Compare recipes with the best of their kind: single runs with single runs, several seeds with several seeds.

    A single run does not say how much seeds vary, so it is not compared with a recipe of several. Runs on different
    data are not compared either.

    Args:
        recipes: Of which those count that have ranks.
        most: Of each kind, so many of the best are compared with the first of them.
        resamples: As of `compare_ranks`.
        advance: Called after each comparison.
    """
    kinds: dict[tuple[str | None, bool], list[Recipe]] = {}
    for recipe in best_first([Recipe(tuple(run for run in recipe.runs if run.has_ranks)) for recipe in recipes]):
        kinds.setdefault((recipe.runs[0].data, len(recipe.runs) > 1), []).append(recipe)
    verdicts = []
    for first, *others in kinds.values():
        for other in others[: max(0, most)]:
            verdicts.append(_compare(first, other, resamples))
            advance()
    return verdicts


def _compare(a: Recipe, b: Recipe, resamples: int) -> Verdict:
    try:
        paths = [[run.path / "ranks.csv" for run in side.runs] for side in (a, b)]
        ranks, caption_to_image = in_one_order({path: read_ranks_table(path) for side in paths for path in side})
        sides = [[ranks[path] for path in side] for side in paths]
        found = compare_ranks(sides[0], sides[1], caption_to_image, resamples)[PRIMARY]
    except TangkaMatchError as error:
        return Verdict(a.runs, b.runs, None, None, str(error))
    return Verdict(a.runs, b.runs, found, better(PRIMARY, found), None)
