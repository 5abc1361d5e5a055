"""Runs that fit, in the order asked for."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from tangka_match.analysis.runs.record import METRICS, RunRecord
from tangka_match.errors import ConfigError

FIELDS = ("started", "run_id", "name", "status", "seconds", "steps", "seed", "job")


def select_runs(
    runs: Sequence[RunRecord],
    *,
    name: str | None = None,
    tag: str | None = None,
    sweep: str | None = None,
    status: str | None = None,
) -> list[RunRecord]:
    """Keep the runs that fit everything that is given.

    Args:
        runs: To choose from.
        name: Of the experiment; ``*`` stands for anything.
        tag: One of the run's.
        sweep: Id of its sweep.
        status: Of the run.
    """
    return [
        run
        for run in runs
        if (name is None or fnmatchcase(run.name, name))
        and (tag is None or tag in run.tags)
        and (sweep is None or run.sweep == sweep)
        and (status is None or run.status == status)
    ]


def sort_runs(runs: Sequence[RunRecord], order: str) -> list[RunRecord]:
    """Sort by a field, a metric or a setting; runs without it come last.

    Args:
        runs: To sort.
        order: The name, with ``-`` before it for falling order.

    Raises:
        ConfigError: If no run has anything of this name.
    """
    key = order.removeprefix("-")
    found = [(value, run) for run in runs if (value := _value(run, key)) is not None]
    if not found and runs and key not in (*FIELDS, *METRICS):
        raise ConfigError(
            f"sort={order}: no run has it; allowed: {', '.join(FIELDS)}, a metric ({', '.join(METRICS)}), or a setting "
            "by its dotted name, such as loss.margin; - before it for falling order"
        )
    found.sort(key=lambda pair: _comparable(pair[0]), reverse=order.startswith("-"))
    known = {id(run) for _, run in found}
    return [run for _, run in found] + [run for run in runs if id(run) not in known]


def _value(run: RunRecord, key: str) -> Any:
    if key in FIELDS:
        return getattr(run, key)
    return run.metrics.get(key) if key in METRICS else run.config.get(key)


def _comparable(value: Any) -> tuple[int, float, str]:
    """Numbers before texts, so that a setting of both sorts can be sorted."""
    if isinstance(value, int | float):
        return (0, float(value), "")
    return (1, 0.0, str(value))
