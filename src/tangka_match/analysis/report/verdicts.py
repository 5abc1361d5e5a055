"""Comparisons of recipes with the best one, and results pooled over folds. Imports torch, unlike ``payload``."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from tangka_match.analysis.comparison import better, in_one_order
from tangka_match.analysis.folds import by_seed, check_same_folds, pool_ranks, pooled_result
from tangka_match.analysis.runs.selection import FOLDS, Recipe, best_first
from tangka_match.analysis.significance import Difference, compare_ranks
from tangka_match.errors import TangkaMatchError
from tangka_match.metric_names import PRIMARY_METRIC
from tangka_match.metrics import Ranks
from tangka_match.records.run_record import RunRecord
from tangka_match.retrieval.evaluation_files import read_ranks_table


class Verdict(NamedTuple):
    """Comparison of two recipes.

    Attributes:
        a: Runs of the best recipe.
        b: Runs of the other recipe.
        found: Difference of mean R@1; ``None`` if the two cannot be compared.
        better: ``a`` or ``b``; ``None`` without a significant difference.
        reason: Why they cannot be compared, or ``None``.
    """

    a: tuple[RunRecord, ...]
    b: tuple[RunRecord, ...]
    found: Difference | None
    better: str | None
    reason: str | None


def compare_with_best(
    recipes: Sequence[Recipe], most: int, resamples: int, advance: Callable[[], None] = lambda: None
) -> list[Verdict]:
    """Compare recipes with the best recipe of their kind: same data, and either single runs or several seeds.

    A single run does not measure the variance between seeds, so it is not compared with several seeds. The folds of a
    cross-validation are pooled, and compared with those of other recipes.

    Args:
        recipes: Recipes; runs without ranks are ignored.
        most: Largest number of recipes per kind that are compared with the best one.
        resamples: Number of resamples, see `compare_ranks`.
        advance: Callback after each comparison.
    """
    kinds: dict[tuple[object, ...], list[Recipe]] = {}
    ranked = [Recipe(runs) for recipe in recipes if (runs := tuple(run for run in recipe.runs if run.has_ranks))]
    for recipe in best_first(ranked):
        settings = recipe.runs[0].config
        data = (settings.get("data.root"), settings.get(FOLDS)) if recipe.has_folds else recipe.runs[0].data
        kinds.setdefault((data, recipe.num_seeds > 1 if recipe.has_folds else len(recipe.runs) > 1), []).append(recipe)
    verdicts = []
    for first, *others in kinds.values():
        for other in others[: max(0, most)]:
            verdicts.append(_compare(first, other, resamples))
            advance()
    return verdicts


def pooled_seeds(recipe: Recipe) -> list[dict[str, Any]]:
    """Return the metrics over the queries of all held-out folds of a recipe, one entry per seed.

    Raises:
        TangkaMatchError: If ranks cannot be read, or a fold is missing.
    """
    pooled = [(seed, pooled_result(seed)) for seed in by_seed(recipe.counted, recipe.runs[0].name)]
    return [
        {
            "folds": len(seed.runs),
            "images": result.images,
            "metrics": result.metrics,
            "intervals": {name: list(ends) for name, ends in result.intervals.items()},
        }
        for seed, result in pooled
    ]


def _compare(a: Recipe, b: Recipe, resamples: int) -> Verdict:
    try:
        sides, caption_to_image = _pooled_ranks(a, b) if a.has_folds else _ranks(a, b)
        found = compare_ranks(sides[0], sides[1], caption_to_image, resamples)[PRIMARY_METRIC]
    except TangkaMatchError as error:
        return Verdict(a.runs, b.runs, None, None, str(error))
    return Verdict(a.runs, b.runs, found, better(PRIMARY_METRIC, found), None)


def _ranks(a: Recipe, b: Recipe) -> tuple[list[list[Ranks]], Tensor]:
    paths = [[run.path / "ranks.csv" for run in side.runs] for side in (a, b)]
    ranks, caption_to_image = in_one_order({path: read_ranks_table(path) for side in paths for path in side})
    return [[ranks[path] for path in side] for side in paths], caption_to_image


def _pooled_ranks(a: Recipe, b: Recipe) -> tuple[list[list[Ranks]], Tensor]:
    seeds_a, seeds_b = by_seed(a.counted, "a"), by_seed(b.counted, "b")
    check_same_folds("a", seeds_a[0], "b", seeds_b[0])
    pooled, caption_to_image = pool_ranks([*seeds_a, *seeds_b])
    return [pooled[: len(seeds_a)], pooled[len(seeds_a) :]], caption_to_image
