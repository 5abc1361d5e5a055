"""Data of the report page as plain values; ``data.js`` reads them."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from torch import Tensor

from tangka_match.analysis.comparison import better, in_one_order
from tangka_match.analysis.curves import Curve
from tangka_match.analysis.folds import FoldedSeed, by_seed, check_same_folds, pool_ranks, pooled_result
from tangka_match.analysis.runs.differences import (
    choose_columns,
    differing_keys,
    short_names,
    short_value,
    swept_keys,
)
from tangka_match.analysis.runs.selection import FOLDS, Recipe, best_first
from tangka_match.analysis.significance import Difference, compare_ranks
from tangka_match.errors import TangkaMatchError
from tangka_match.metric_names import METRICS, PRIMARY_METRIC
from tangka_match.metrics import Ranks
from tangka_match.records.history import Clock
from tangka_match.records.run_record import RunRecord
from tangka_match.retrieval.evaluation_files import read_ranks_table

CLOCK_POINTS = 60
"""Most points of the clock kept per run; the time in between is interpolated."""


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


@dataclass(frozen=True)
class Report:
    """Content of a report page.

    Args:
        root: Folder of the runs.
        recipes: All runs, grouped into recipes.
        curves: Curves by metric, for each run path.
        verdicts: Comparisons with the best recipes.
        written: Time of writing, in seconds since 1970.
    """

    root: Path
    recipes: Sequence[Recipe]
    curves: Mapping[Path, Mapping[str, Curve]]
    verdicts: Sequence[Verdict] = field(default=())
    written: float = 0.0

    @property
    def runs(self) -> list[RunRecord]:
        """All runs, in the order of the recipes."""
        return [run for recipe in self.recipes for run in recipe.runs]


def report_blocks(report: Report, out: Path) -> dict[str, Any]:
    """Return the data blocks of the page by element id.

    Curves have one block per metric, so that the page parses only those on display; functions make these blocks.

    Args:
        report: Content of the page.
        out: Path of the page; links to run folders are relative to it.
    """
    runs = report.runs
    numbers = {run.path: number for number, run in enumerate(runs)}
    differing = differing_keys(runs)
    columns = choose_columns(runs, differing)
    names = list(dict.fromkeys(name for run in runs for name in report.curves.get(run.path, {})))
    recipe_of = {run.path: number for number, recipe in enumerate(report.recipes) for run in recipe.runs}
    blocks: dict[str, Any] = {
        "report": {
            "root": str(report.root),
            "written": report.written,
            "metrics": list(METRICS),
            "curves": names,
            "columns": _columns(columns, swept_keys(runs)),
            "settings": differing,
            "same": len({name for run in runs for name in run.config}) - len(differing),
            "runs": [_run(run, recipe_of[run.path], differing, out) for run in runs],
            "verdicts": [_verdict(verdict, numbers) for verdict in report.verdicts],
            "pooled": _pooled(report.recipes),
        }
    }
    for number, name in enumerate(names):
        blocks[f"curves-{number}"] = partial(_curve_block, report.curves, numbers, name)
    return blocks


def _curve_block(
    of_runs: Mapping[Path, Mapping[str, Curve]], numbers: Mapping[Path, int], name: str
) -> dict[str, list[list[float]]]:
    """Return the curves of one metric by number of the run; as lists, all of them would take 30 MB."""
    return {str(numbers[path]): _curve(curves[name]) for path, curves in of_runs.items() if name in curves}


def _columns(keys: Sequence[str], swept: set[str]) -> list[dict[str, Any]]:
    names = short_names(keys)
    return [{"key": key, "name": names[key], "swept": key in swept} for key in keys]


def _run(run: RunRecord, recipe: int, settings: Sequence[str], out: Path) -> dict[str, Any]:
    relative = os.path.relpath(run.path.absolute(), out.absolute().parent)
    return {
        "id": run.run_id,
        "recipe": recipe,
        "path": str(run.path),
        "href": f"{quote(Path(relative).as_posix())}/",
        "name": run.name,
        "status": run.status,
        "tags": list(run.tags),
        "seed": run.seed,
        "sweep": run.sweep,
        "job": run.job,
        "overrides": list(run.overrides),
        "started": run.started,
        "seconds": run.seconds,
        "steps": run.steps,
        "bestStep": run.best_step,
        "stepSeconds": run.clock.seconds_per_step(),
        "parameters": run.num_parameters,
        "queries": run.queries,
        "data": run.data,
        "commit": run.commit,
        "code": run.code,
        "command": run.command,
        "metrics": dict(run.metrics),
        "intervals": {name: list(ends) for name, ends in run.intervals.items()},
        "settings": [_plain(run.config.get(key)) if key in run.config else None for key in settings],
        "clock": _clock(run.clock),
        "hasRanks": run.has_ranks,
        "verdicts": [list(verdict) for verdict in run.verdicts],
        "skipped": run.skipped,
        "problems": list(run.problems),
    }


def _plain(value: Any) -> Any:
    """Keep numbers and booleans, which the page sorts and plots; format other values briefly."""
    return value if isinstance(value, int | float) else short_value(value)


def _clock(clock: Clock) -> list[list[float]]:
    count = len(clock.steps)
    chosen = np.unique(np.linspace(0, count - 1, CLOCK_POINTS).astype(int)) if count else np.zeros(0, int)
    return [clock.steps[chosen].tolist(), clock.seconds[chosen].round(1).tolist()]


def _curve(curve: Curve) -> list[list[float]]:
    steps, values = curve
    return [steps.tolist(), [float(f"{value:.5g}") for value in values.tolist()]]


def _verdict(verdict: Verdict, numbers: Mapping[Path, int]) -> dict[str, Any]:
    found = verdict.found
    return {
        "a": [numbers[run.path] for run in verdict.a],
        "b": [numbers[run.path] for run in verdict.b],
        "better": verdict.better,
        "difference": None if found is None else found._asdict(),
        "reason": verdict.reason,
    }


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


def _pooled(recipes: Sequence[Recipe]) -> dict[str, list[dict[str, Any]]]:
    """Return the metrics over the queries of all held-out folds, one entry per seed, by number of the recipe."""
    found = {}
    for number, recipe in enumerate(recipes):
        if recipe.has_folds and all(run.has_ranks for run in recipe.counted):
            with contextlib.suppress(TangkaMatchError):  # damaged ranks: the recipe then shows the mean over its runs
                seeds = by_seed(recipe.counted, recipe.runs[0].name)
                found[str(number)] = [_pooled_seed(seed) for seed in seeds]
    return found


def _pooled_seed(seed: FoldedSeed) -> dict[str, Any]:
    result = pooled_result(seed)
    return {
        "folds": len(seed.runs),
        "images": result.images,
        "metrics": result.metrics,
        "intervals": {name: list(ends) for name, ends in result.intervals.items()},
    }
