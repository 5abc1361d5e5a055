"""Record of a run: a summary of its folder as plain values."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rich
from rich.progress import track

from tangka_match.errors import count
from tangka_match.metric_names import METRICS, VAL_PREFIX
from tangka_match.records.history import Clock
from tangka_match.records.run_files import LEDGER, RunFiles, read_run_files
from tangka_match.records.setting_names import with_current_targets, with_first_names
from tangka_match.records.working_time import WorkingTime, read_working_time

NAMED = 3
"""Most damaged files that a message names."""
RUNNING, KILLED = "running", "killed"
"""Statuses of a run whose ledger has no ``end`` event: if a process holds its lock, and if none does."""


@dataclass(frozen=True)
class RunRecord:
    """Summary of a run for lists, reports and comparisons.

    Args:
        path: Run folder.
        run_id: Name of the run folder.
        name: Name of the experiment.
        status: ``finished``, ``pruned``, ``stopped``, ``failed``, ``running`` or ``killed``.
        tags: Tags given by the user.
        seed: Random seed; ``None`` if unknown.
        sweep: Id of the sweep that started it; ``None`` outside a sweep.
        job: Number of its job in the sweep.
        overrides: Overrides as given on the command line.
        started: Start time, in seconds since 1970.
        clock: Working time of the logged steps.
        seconds: Working time in total, in seconds.
        working_time: Working time by phase.
        steps: Optimizer steps done.
        best_step: Optimizer steps done at the best validation; ``None`` before the first one.
        metrics: Metrics of the best checkpoint (finished runs) or of the best validation so far, by ``METRICS``; with
            cross-validation those of the held-out fold, once the run has finished.
        intervals: 95 % intervals of ``metrics`` (finished runs only).
        config: Settings by dotted name.
        data: Fingerprint of the data.
        commit: Git commit of the code.
        code: Hash of the source files, or the commit if no hash was noted: equal for runs of equal code.
        num_parameters: Number of parameters of the model.
        queries: Numbers of images and captions that ``metrics`` are computed on.
        command: Command line.
        verdicts: Code and message of each verdict of the training guard.
        has_ranks: Whether it can be compared query by query: it has finished and has a ``ranks.csv``.
        skipped: Number of unreadable ledger lines.
        problems: Names of unreadable files, each with the reason.
    """

    path: Path
    run_id: str
    name: str
    status: str
    tags: tuple[str, ...]
    seed: int | None
    sweep: str | None
    job: int | None
    overrides: tuple[str, ...]
    started: float | None
    clock: Clock
    seconds: float
    working_time: WorkingTime
    steps: int
    best_step: int | None
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    config: Mapping[str, Any]
    data: str | None
    commit: str | None
    code: str | None
    num_parameters: int | None
    queries: tuple[int, int] | None
    command: str | None
    verdicts: tuple[tuple[str, str], ...]
    has_ranks: bool
    skipped: int
    problems: tuple[str, ...]


def read_records(folders: Sequence[Path], keep: Callable[[RunFiles], None] | None = None) -> list[RunRecord]:
    """Read run folders and summarise them, with a progress bar.

    Args:
        folders: Run folders.
        keep: Callback with the files and curves of each run, to extract data that the record does not hold.
    """
    records = []
    console = rich.get_console()
    for folder in track(folders, "reading runs", console=console, transient=True, disable=not console.is_terminal):
        files = read_run_files(folder, with_curves=keep is not None)
        if keep is not None:
            keep(files)
        records.append(make_record(files))
    return records


def make_record(files: RunFiles) -> RunRecord:
    """Summarise a run; fields that its files lack stay empty."""
    history, config, result, environment = files.history, files.config, files.result, files.environment
    start, clock = history.start, files.history.clock
    status = history.status or (RUNNING if files.held else KILLED)
    best_step, best = history.best or (None, {})
    held_out = result.get("held_out")
    scored = held_out if isinstance(held_out, Mapping) else result
    return RunRecord(
        path=files.path,
        run_id=files.path.name,
        name=str(start.get("name") or config.get("name") or ""),
        status=status,
        tags=_texts(start.get("tags", config.get("tags"))),
        seed=_whole(start.get("seed", config.get("seed"))),
        sweep=None if start.get("sweep") is None else str(start["sweep"]),
        job=_whole(start.get("job")),
        overrides=_texts(start.get("overrides")),
        started=_number(start.get("time")),
        clock=clock,
        seconds=history.seconds,
        working_time=read_working_time(history.phases),
        steps=int(clock.steps[-1]) if len(clock.steps) else 0,
        best_step=_whole(result.get("best_step")) or best_step,
        metrics=_metrics(scored.get("metrics", result.get("val_metrics")))
        or _metrics({k.removeprefix(VAL_PREFIX): v for k, v in best.items()}),
        intervals=_intervals(scored.get("ci95", result.get("val_ci95"))),
        config=flatten(with_current_targets(with_first_names(config))),
        data=_text(start.get("data_fingerprint") or result.get("data_fingerprint")),
        commit=_text(start.get("git_commit") or environment.get("git_commit")),
        code=_text(start.get("sources") or start.get("git_commit")),
        num_parameters=_whole(start.get("num_parameters")),
        queries=_queries(scored),
        command=_text(environment.get("command")),
        verdicts=tuple(history.verdicts),
        has_ranks=files.has_ranks and status == "finished",
        skipped=files.skipped,
        problems=files.problems,
    )


def damage(runs: Sequence[RunRecord]) -> list[str]:
    """Count and name the damaged parts of the runs, which were skipped, in one text; empty if everything was read."""
    lines = sum(run.skipped for run in runs)
    files = [f"{run.run_id}/{problem}" for run in runs for problem in run.problems]
    names = [f"{run.run_id}/{LEDGER}" for run in runs if run.skipped] + files
    if not names:
        return []
    found = [count(lines, "unreadable ledger line")] if lines else []
    found += [count(len(files), "unreadable file")] if files else []
    more = [f"and {len(names) - NAMED} more"] if len(names) > NAMED else []
    return [f"{' and '.join(found)} skipped: {', '.join([*names[:NAMED], *more])}"]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return all settings by dotted name; lists stay whole.

    >>> flatten({"loss": {"margin": [0.1, 0.2]}, "seed": 0})
    {'loss.margin': [0.1, 0.2], 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _queries(result: Mapping[str, Any]) -> tuple[int, int] | None:
    images, captions = (_whole(result.get(key)) for key in ("num_images", "num_captions"))
    return None if images is None or captions is None else (images, captions)


def _metrics(values: Any) -> dict[str, float]:
    if not isinstance(values, Mapping):
        return {}
    found = {name: _number(values.get(name)) for name in METRICS}
    return {name: value for name, value in found.items() if value is not None}


def _intervals(values: Any) -> dict[str, tuple[float, float]]:
    found = {}
    for name, ends in values.items() if isinstance(values, Mapping) else ():
        low, high = map(_number, ends) if isinstance(ends, list) and len(ends) == 2 else (None, None)
        if name in METRICS and low is not None and high is not None:
            found[name] = (low, high)
    return found


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(map(str, values)) if isinstance(values, list) else ()
