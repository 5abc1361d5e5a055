"""The files of a run folder, readable during the run and after a kill, and the choice of a run by its id."""

import errno
import fcntl
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.records.curves import CurveCollector, MetricCurve
from tangka_match.records.history import History
from tangka_match.records.ledger import LedgerLines
from tangka_match.records.saved_files import read_mapping
from tangka_match.records.schema import CONFIG, ENVIRONMENT, RESULT

LEDGER = "ledger.jsonl"
LAST = "last"
"""Accepted in place of a run id; means the run that was started last."""


@dataclass(frozen=True)
class RunFiles:
    """Contents of a run folder as plain values.

    Args:
        path: Run folder.
        history: Summary of the valid events of the ledger.
        skipped: Number of ledger lines that hold no valid event.
        config: Composed config; empty if it cannot be read.
        result: Results of the best checkpoint; empty until the run has finished.
        environment: Command, package versions and hardware.
        held: Whether a process is running it now.
        has_ranks: Whether it has the ranks per query that comparisons need.
        problems: Names of damaged files, each with the reason.
        curves: Finite values of all metrics, if they were asked for.
    """

    path: Path
    history: History
    skipped: int
    config: dict[str, Any]
    result: dict[str, Any]
    environment: dict[str, Any]
    held: bool
    has_ranks: bool
    problems: tuple[str, ...]
    curves: Mapping[str, MetricCurve] = field(default_factory=dict)


def find_run_folders(root: Path) -> list[Path]:
    """Find every run folder at or below ``root``, sorted by name; run folders are not searched for further runs.

    Args:
        root: Folder of runs or of sweeps, or a single run folder.

    Raises:
        ConfigError: If ``root`` is not a folder or contains no run.
    """
    if not root.is_dir():
        raise ConfigError(f"runs={root}: no such folder; give the folder that was set as paths.runs in training")
    found = []
    for folder, names, files in os.walk(root.absolute()):
        if LEDGER in files:
            found.append(Path(folder))
            names.clear()
    if not found:
        raise ConfigError(
            f"runs={root}: no run here (no folder with a {LEDGER} at any depth); give the folder that was set as "
            "paths.runs in training, or train a run with python -m tangka_match.train"
        )
    return sorted(found, key=lambda path: (path.name, path))


def read_run_files(path: Path, *, with_curves: bool = False) -> RunFiles:
    """Read a run folder; missing or damaged files are left empty, and damage is noted in ``problems``.

    Args:
        path: Run folder.
        with_curves: Whether to keep the values of all metrics.
    """
    problems: list[str] = []
    history, collector, lines = History(), CurveCollector(finite_only=True), LedgerLines(path / LEDGER)
    try:
        for event in lines:
            history.add(event)
            if with_curves:
                collector.add(event)
    except OSError as error:
        problems.append(f"{LEDGER}: {error.strerror}")
    return RunFiles(
        path=path,
        history=history,
        skipped=lines.skipped,
        config=_mapping(path / "config.yaml", CONFIG, problems),
        result=_mapping(path / "result.json", RESULT, problems),
        environment=_mapping(path / "environment.json", ENVIRONMENT, problems),
        held=_is_held(path / ".lock"),
        has_ranks=(path / "ranks.csv").is_file(),
        problems=tuple(problems),
        curves=collector.curves,
    )


def choose_run(known: Sequence[str], run_id: str, setting: str, runs: Path) -> str:
    """Resolve a run id, an unambiguous prefix of one, or ``last`` to a full run id.

    Args:
        known: Existing run ids, oldest first.
        run_id: Value given by the user.
        setting: Name of the setting that held it, for messages.
        runs: Folder of the runs, for messages.

    Raises:
        ConfigError: If no run or several runs match; the message lists the newest runs.
    """
    if run_id == LAST:
        found = list(known[-1:])
    else:
        found = [k for k in known if k == run_id] or [k for k in known if k.startswith(run_id)]
    if len(found) == 1:
        return found[0]
    newest = "\n  ".join(reversed(known[-5:])) or "(none)"
    what = f"{len(found)} runs fit" if found else "no run fits"
    raise ConfigError(
        f"{setting}={run_id}: {what} under {runs.resolve()}; the newest are:\n  {newest}\n"
        "Give a full id, or set paths.runs=<folder>"
    )


def _mapping(path: Path, schema: TypeAdapter[Any], problems: list[str]) -> dict[str, Any]:
    try:
        return read_mapping(path, schema)
    except FileNotFoundError:
        return {}
    except DataFormatError as error:
        problems.append(str(error))
        return {}


def _is_held(lock: Path) -> bool:
    """Whether a process holds the lock of `RunFolder.lock`; tested with a shared lock that is released at once.

    The training process itself must not call this: closing the file would release its own lock.
    """
    try:
        with lock.open(encoding="utf-8") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)  # depends on the system; other errors do not indicate a lock
    return False
