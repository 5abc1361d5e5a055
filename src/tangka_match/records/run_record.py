"""One run as plain values, made from what its folder holds."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import rich
from rich.progress import track

from tangka_match.errors import ConfigError, count
from tangka_match.metric_names import DEFAULT_MONITOR, METRICS, VAL_PREFIX
from tangka_match.records.run_files import RunFiles, find_run_folders, read_run_files

RUNNING, KILLED = "running", "killed"
"""A run without an end: a process holds it, or none does. Others: ``finished``, ``stopped``, ``failed``, ``pruned``."""


@dataclass(frozen=True)
class Clock:
    """When steps were done, in seconds of work: time that a stopped run lay idle is not counted.

    Args:
        steps: Optimizer steps, rising.
        seconds: Of work since the start.
    """

    steps: tuple[int, ...]
    seconds: tuple[float, ...]

    def seconds_per_step(self) -> float | None:
        """Median over the intervals between logged steps, validation and checkpoints within them included."""
        moments = zip(self.steps, self.seconds, strict=True)
        rates = [(end - start) / (last - first) for (first, start), (last, end) in pairwise(moments) if last > first]
        return statistics.median(rates) if rates else None


@dataclass(frozen=True)
class RunRecord:
    """What a list or a comparison says of a run.

    Args:
        path: Of the run folder.
        run_id: Its name.
        name: Of the experiment.
        status: How it ended, or ``running`` or ``killed``.
        tags: As given.
        seed: As given, ``None`` where unknown.
        sweep: Id of the sweep that it is a job of.
        job: Its number there.
        overrides: What the command changed, as it stood on the command line.
        started: Seconds since 1970.
        clock: Of its steps.
        seconds: Of work.
        steps: Optimizer steps done.
        best_step: Of the best validation; ``None`` before the first.
        metrics: Of the best checkpoint (finished), or of the best validation so far, by ``METRICS``.
        intervals: 95 % intervals of the same, for finished runs.
        config: Its settings, flat, by dotted names.
        data: Fingerprint of the data.
        commit: Of the code.
        code: Hash of the code's files, or its commit where the run does not know that: equal for runs of equal code.
        num_parameters: Of the model.
        queries: Images and captions of the validation split.
        command: As typed.
        verdicts: Code and message of what the guard said.
        has_ranks: Whether it can be compared query by query: it has ranks, and was not given up by a study.
        skipped: Lines of the ledger that could not be read.
        problems: Files that could not be read.
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


def make_record(
    path: Path,
    events: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    result: Mapping[str, Any],
    environment: Mapping[str, Any],
    *,
    held: bool,
    has_ranks: bool,
    skipped: int,
    problems: tuple[str, ...],
) -> RunRecord:
    """Sum up a run; whatever its files lack stays empty.

    Args:
        path: Of the run folder.
        events: Of its ledger.
        config: Composed, nested.
        result: Content of ``result.json``.
        environment: Content of ``environment.json``.
        held: Whether a process runs it.
        has_ranks: Whether it has a ``ranks.csv``.
        skipped: Unreadable lines of the ledger.
        problems: Unreadable files.
    """
    start: Mapping[str, Any] = next((event for event in events if event["event"] == "start"), {})
    flat = flatten(config)
    status = _status(events, held=held)
    best_step, best = _best_validation(events)
    metrics = _numbers(result.get("val_metrics")) or best
    clock, seconds = _clock(events)
    return RunRecord(
        path=path,
        run_id=path.name,
        name=str(start.get("name") or config.get("name") or ""),
        status=status,
        tags=_texts(start.get("tags", config.get("tags"))),
        seed=_whole(start.get("seed", config.get("seed"))),
        sweep=None if start.get("sweep") is None else str(start["sweep"]),
        job=_whole(start.get("job")),
        overrides=_texts(start.get("overrides")),
        started=_number(start.get("time")),
        clock=clock,
        seconds=seconds,
        steps=clock.steps[-1] if clock.steps else 0,
        best_step=_whole(result.get("best_step")) or best_step,
        metrics=metrics,
        intervals=_intervals(result.get("val_ci95")),
        config=flat,
        data=_text(start.get("data_fingerprint") or result.get("data_fingerprint")),
        commit=_text(start.get("git_commit") or environment.get("git_commit")),
        code=_text(start.get("sources") or start.get("git_commit")),
        num_parameters=_whole(start.get("num_parameters")),
        queries=_queries(result),
        command=_text(environment.get("command")),
        verdicts=_verdicts(events),
        has_ranks=has_ranks and status == "finished",
        skipped=skipped,
        problems=problems,
    )


def _queries(result: Mapping[str, Any]) -> tuple[int, int] | None:
    images, captions = (_whole(result.get(key)) for key in ("num_images", "num_captions"))
    return None if images is None or captions is None else (images, captions)


def _verdicts(events: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    return tuple((str(event.get("code")), str(event.get("message"))) for event in events if event["event"] == "verdict")


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names of all settings; lists stay whole.

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


def _status(events: Sequence[Mapping[str, Any]], *, held: bool) -> str:
    last = next((event for event in reversed(events) if event["event"] in ("start", "resume", "end")), None)
    if last is not None and last["event"] == "end":
        return str(last["status"])
    return RUNNING if held else KILLED


def _best_validation(events: Sequence[Mapping[str, Any]]) -> tuple[int | None, dict[str, float]]:
    rows = [
        event
        for event in events
        if event["event"] == "metrics" and math.isfinite(event["values"].get(DEFAULT_MONITOR, math.nan))
    ]
    if not rows:
        return None, {}
    best = max(rows, key=lambda event: float(event["values"][DEFAULT_MONITOR]))
    return int(best["step"]) + 1, _numbers({k.removeprefix(VAL_PREFIX): v for k, v in best["values"].items()})


def _clock(events: Sequence[Mapping[str, Any]]) -> tuple[Clock, float]:
    steps: list[int] = []
    seconds: list[float] = []
    work, last = 0.0, None
    for event in events:
        time = _number(event.get("time"))
        if time is None:
            continue
        if last is not None and event["event"] != "resume":
            work += max(0.0, time - last)
        last = time
        if event["event"] == "metrics":
            steps.append(int(event["step"]) + 1)
            seconds.append(work)
    return Clock(tuple(steps), tuple(seconds)), work


def _numbers(values: Any) -> dict[str, float]:
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


def find_runs(root: Path) -> list[Path]:
    """The run folders at or below ``root``.

    Raises:
        ConfigError: If there is no such folder, or no run in it.
    """
    if not root.is_dir():
        raise ConfigError(f"runs={root}: no such folder; give the one that paths.runs named when the runs were made")
    found = find_run_folders(root.absolute())
    if not found:
        raise ConfigError(
            f"runs={root}: no run here (no folder with a ledger.jsonl at any depth); give the folder that paths.runs "
            "named, or make a run with python -m tangka_match.train"
        )
    return found


def read_runs(folders: list[Path], keep: Callable[[RunFiles], None] = lambda files: None) -> list[RunRecord]:
    """Read runs, with a progress bar.

    Args:
        folders: Of the runs.
        keep: Takes what of a run's files shall outlast its record; events are let go after it.
    """
    records = []
    console = rich.get_console()
    for folder in track(folders, "reading runs", console=console, transient=True, disable=not console.is_terminal):
        files = read_run_files(folder)
        keep(files)
        records.append(
            make_record(
                folder,
                files.events,
                files.config,
                files.result,
                files.environment,
                held=files.held,
                has_ranks=files.has_ranks,
                skipped=files.skipped,
                problems=files.problems,
            )
        )
    return records


def damage(runs: Sequence[RunRecord]) -> list[str]:
    """What of the runs could not be read, in words; empty where all could."""
    lines, files = sum(run.skipped for run in runs), sum(len(run.problems) for run in runs)
    told = [f"{count(lines, 'unreadable ledger line')} skipped"] if lines else []
    return told + ([count(files, "unreadable file")] if files else [])
