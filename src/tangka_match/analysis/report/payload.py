"""Data of the report page as plain values; ``data.js`` reads them."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from tangka_match.analysis.curves import Curve
from tangka_match.analysis.runs.differences import (
    choose_columns,
    differing_keys,
    short_names,
    short_value,
    swept_keys,
)
from tangka_match.analysis.runs.selection import Recipe
from tangka_match.errors import TangkaMatchError
from tangka_match.metric_names import METRICS
from tangka_match.records.history import Clock
from tangka_match.records.run_record import RunRecord

if TYPE_CHECKING:
    from tangka_match.analysis.report.verdicts import Verdict

CLOCK_POINTS = 60
"""Most points of the clock kept per run; the time in between is interpolated."""


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
    verdicts: "Sequence[Verdict]" = field(default=())
    written: float = 0.0

    @property
    def runs(self) -> list[RunRecord]:
        """All runs, in the order of the recipes."""
        return [run for recipe in self.recipes for run in recipe.runs]


def report_blocks(report: Report, out: Path) -> dict[str, dict[str, Any] | Callable[[], dict[str, Any]]]:
    """Return the data blocks of the page by element id.

    Curves have one block per metric, so that the page parses only those on display. A block of curves is a function
    that builds it when the page is written, to save memory.

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
    blocks: dict[str, dict[str, Any] | Callable[[], dict[str, Any]]] = {
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
    """Return the curves of one metric by number of the run."""
    # Called when the page is written: as lists, the curves of all metrics would take 30 MB.
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
        "phases": {phase: round(share) for phase, share in run.working_time.shares.items() if share >= 0.5},
        "gpuBusy": None if run.working_time.gpu_busy is None else round(run.working_time.gpu_busy),
        "peakMemory": None if run.working_time.peak_memory_mib is None else round(run.working_time.peak_memory_mib),
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


def _verdict(verdict: "Verdict", numbers: Mapping[Path, int]) -> dict[str, Any]:
    found = verdict.found
    return {
        "a": [numbers[run.path] for run in verdict.a],
        "b": [numbers[run.path] for run in verdict.b],
        "better": verdict.better,
        "difference": None if found is None else found._asdict(),
        "reason": verdict.reason,
    }


def _pooled(recipes: Sequence[Recipe]) -> dict[str, list[dict[str, Any]]]:
    """Return the metrics over the queries of all held-out folds, one entry per seed, by number of the recipe."""
    folded = {
        str(number): recipe
        for number, recipe in enumerate(recipes)
        if recipe.has_folds and all(run.has_ranks for run in recipe.counted)
    }
    if not folded:
        return {}
    from tangka_match.analysis.report.verdicts import pooled_seeds  # noqa: PLC0415 - imports torch

    found = {}
    for number, recipe in folded.items():
        with contextlib.suppress(TangkaMatchError):  # damaged ranks: the recipe then shows the mean over its runs
            found[number] = pooled_seeds(recipe)
    return found
