"""What the page's scripts draw, as plain values: see ``data.js`` for how they read it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from tangka_match.analysis.report.curves import Curve
from tangka_match.analysis.report.verdicts import Verdict
from tangka_match.analysis.runs.differences import (
    choose_columns,
    differing_keys,
    short_names,
    short_value,
    swept_keys,
)
from tangka_match.analysis.runs.record import METRICS, Clock, RunRecord
from tangka_match.analysis.runs.seeds import Recipe

CLOCK_POINTS = 60
"""Moments kept of a run, between which time is taken to run evenly."""


@dataclass(frozen=True)
class Report:
    """What a page is about.

    Args:
        root: Folder of the runs.
        recipes: All runs, seeds folded.
        curves: Of each run, by its path.
        verdicts: Of comparisons with the best.
        written: Seconds since 1970.
    """

    root: Path
    recipes: Sequence[Recipe]
    curves: Mapping[Path, Mapping[str, Curve]]
    verdicts: Sequence[Verdict] = field(default=())
    written: float = 0.0

    @property
    def runs(self) -> list[RunRecord]:
        """All runs, in the order of their recipes."""
        return [run for recipe in self.recipes for run in recipe.runs]


def report_blocks(report: Report, out: Path) -> dict[str, Any]:
    """The blocks of data by the ids that the scripts know.

    Curves stand in a block a metric, so that only those that are looked at are read.

    Args:
        report: To be drawn.
        out: Where the page will lie; links to run folders start there.
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
        }
    }
    for number, name in enumerate(names):
        blocks[f"curves-{number}"] = {
            str(numbers[path]): _curve(curves[name]) for path, curves in report.curves.items() if name in curves
        }
    return blocks


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
    """Numbers and truth values as they are, so that the page can sort and draw them; the rest as short text."""
    return value if isinstance(value, int | float) else short_value(value)


def _clock(clock: Clock) -> list[list[float]]:
    chosen = sorted({int(n) for n in np.linspace(0, len(clock.steps) - 1, CLOCK_POINTS)}) if clock.steps else []
    return [[clock.steps[n] for n in chosen], [round(clock.seconds[n], 1) for n in chosen]]


def _curve(curve: Curve) -> list[list[float]]:
    steps, values = curve
    return [steps.tolist(), [float(f"{value:.5g}") for value in values]]


def _verdict(verdict: Verdict, numbers: Mapping[Path, int]) -> dict[str, Any]:
    found = verdict.found
    return {
        "a": [numbers[run.path] for run in verdict.a],
        "b": [numbers[run.path] for run in verdict.b],
        "better": verdict.better,
        "difference": None if found is None else found._asdict(),
        "reason": verdict.reason,
    }
