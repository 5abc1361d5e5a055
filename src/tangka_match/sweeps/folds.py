"""Pooled result of a cross-validation that a grid has run (``-m data.folds=9 'data.fold=range(9)'``)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import rich
from rich.markup import escape
from rich.table import Table

from tangka_match.analysis.folds import (
    FoldedSeed,
    PooledResult,
    by_seed,
    describe_folds,
    pooled_result,
)
from tangka_match.analysis.runs.selection import FOLD, is_fold, recipe_settings
from tangka_match.metric_names import PRIMARY_METRIC
from tangka_match.records.run_files import read_run_files
from tangka_match.records.run_record import RunRecord, damage, make_record
from tangka_match.records.setting_names import SEED_KEYS
from tangka_match.sweeps.manifest import JobRecord
from tangka_match.sweeps.tables import differing_overrides

_SHARED = (FOLD, *SEED_KEYS)
"""Settings that do not distinguish recipes."""


class PooledRow(NamedTuple):
    """Pooled result of one recipe and seed.

    Attributes:
        settings: Overrides in which the recipe differs from the others of the sweep.
        runs: Runs, by fold.
        result: Metrics over the queries of all folds.
    """

    settings: tuple[str, ...]
    runs: FoldedSeed
    result: PooledResult

    def record(self) -> dict[str, Any]:
        """Return the entry of the manifest."""
        return {
            "settings": list(self.settings),
            "seed": self.runs.seed,
            "folds": list(self.runs.runs),
            "of": self.runs.folds,
            "runs": [run.run_id for run in self.runs.runs.values()],
            "images": self.result.images,
            "captions": self.result.captions,
            "metrics": self.result.metrics,
            "interval": {name: list(ends) for name, ends in self.result.intervals.items()},
        }


def pool_jobs(jobs: Sequence[JobRecord], runs: Path) -> list[PooledRow]:
    """Pool the folds of each recipe and seed of a sweep; empty if its runs held out no folds.

    Args:
        jobs: Jobs of the sweep; unfinished ones are ignored.
        runs: Folder of the runs.
    """
    differing = differing_overrides(jobs)
    found: dict[str, tuple[tuple[str, ...], list[RunRecord]]] = {}
    for job in jobs:
        for run_id in (job.end or {}).get("runs", []) if job.status == "finished" else []:
            run = make_record(read_run_files(runs / run_id))
            if is_fold(run):
                key = json.dumps([recipe_settings(run), run.seed], sort_keys=True, default=str)
                shown = tuple(o for o in differing[job.number] if o.lstrip("+").partition("=")[0] not in _SHARED)
                found.setdefault(key, (shown, []))[1].append(run)
    for damaged in damage([run for _, members in found.values() for run in members]):
        rich.print(escape(damaged))
    rows = []
    for shown, members in found.values():
        (seed,) = by_seed(members, "sweep")
        rows.append(PooledRow(shown, seed, pooled_result(seed)))
    return rows


def pooled_table(rows: Sequence[PooledRow]) -> Table:
    """Make a table with one row per recipe and seed, and the 95 % interval of its mean R@1."""
    table = Table(
        title="held-out folds, all queries pooled",
        title_justify="left",
        caption="interval over the images; each query is ranked in its fold, by the model that held it out",
    )
    for name in ("settings", "seed", "folds", "images"):
        table.add_column(name, justify="left" if name == "settings" else "right")
    for name in (PRIMARY_METRIC, "95 % interval", "rsum"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        metrics, (low, high) = row.result.metrics, row.result.intervals[PRIMARY_METRIC]
        table.add_row(
            escape(" ".join(row.settings)),
            str(row.runs.seed),
            describe_folds(row.runs),
            f"{row.result.images:,}",
            f"{metrics[PRIMARY_METRIC]:.2f}",
            f"{low:.2f} – {high:.2f}",
            f"{metrics['rsum']:.1f}",
        )
    return table
