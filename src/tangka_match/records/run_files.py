"""The files of a run folder, read even while the run goes on or after it was killed; choosing a run by its id."""

import errno
import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tangka_match.errors import ConfigError
from tangka_match.records.ledger import scan_ledger

LEDGER = "ledger.jsonl"
# The parser in C is ten times as fast; some builds of PyYAML come without it.
YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class RunFiles:
    """The records of one run, as plain values.

    Args:
        path: Of the run folder.
        events: Of the ledger, those that count.
        skipped: Lines of the ledger that hold no event.
        config: Composed; empty where it cannot be read.
        result: Of the best checkpoint; empty until the run has finished.
        environment: Command, versions, machine.
        held: Whether a process is running it now.
        has_ranks: Whether there are the ranks that comparisons need.
        problems: Files that cannot be read, each with the reason.
    """

    path: Path
    events: list[dict[str, Any]]
    skipped: int
    config: dict[str, Any]
    result: dict[str, Any]
    environment: dict[str, Any]
    held: bool
    has_ranks: bool
    problems: tuple[str, ...]


def find_run_folders(root: Path) -> list[Path]:
    """Every folder with a ledger at or below ``root``, in the order of their names; nothing below a run is looked at.

    Args:
        root: A folder of runs, of sweeps of runs, or one run.
    """
    found = []
    for folder, names, files in os.walk(root):
        if LEDGER in files:
            found.append(Path(folder))
            names.clear()
    return sorted(found, key=lambda path: (path.name, path))


def read_run_files(path: Path) -> RunFiles:
    """Read a run folder; what is missing or damaged is left empty, and damage is noted in ``problems``.

    Args:
        path: Of the run folder.
    """
    problems: list[str] = []
    events: list[dict[str, Any]] = []
    skipped = 0
    try:
        events, skipped = scan_ledger(path / LEDGER)
    except OSError as error:
        problems.append(f"{LEDGER}: {error.strerror}")
    return RunFiles(
        path=path,
        events=events,
        skipped=skipped,
        config=_mapping(path / "config.yaml", problems),
        result=_mapping(path / "result.json", problems),
        environment=_mapping(path / "environment.json", problems),
        held=_is_held(path / ".lock"),
        has_ranks=(path / "ranks.csv").is_file(),
        problems=tuple(problems),
    )


def _mapping(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.load(text, YamlLoader)  # noqa: S506 - a safe one
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        problems.append(f"{path.name}: {str(error).splitlines()[0]}")
        return {}
    if not isinstance(content, dict):
        problems.append(f"{path.name}: holds no mapping")
        return {}
    return content


def _is_held(lock: Path) -> bool:
    """Whether a process holds the lock of ``RunFolder.lock``; asked with a shared lock, given back at once.

    Not to be asked by the process that trains: to close the file would give back its own lock.
    """
    try:
        with lock.open(encoding="utf-8") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)  # by system; others say nothing of a holder
    return False


LAST = "last"
"""Stands for the run that was started last, wherever a run id is asked for."""


def choose_run(known: Sequence[str], run_id: str, setting: str, runs: Path) -> str:
    """The one id that is meant.

    Args:
        known: Ids in the order of time.
        run_id: An id, an unambiguous beginning of one, or ``last``.
        setting: Where it was given, for messages.
        runs: Where the runs lie, for messages.

    Raises:
        ConfigError: If there is no such run, or several fit; the message lists the newest.
    """
    found = (
        list(known[-1:])
        if run_id == LAST
        else [k for k in known if k == run_id] or [k for k in known if k.startswith(run_id)]
    )
    if len(found) == 1:
        return found[0]
    newest = "\n  ".join(reversed(known[-5:])) or "(none)"
    what = f"{len(found)} runs fit" if found else "no run fits"
    raise ConfigError(
        f"{setting}={run_id}: {what} under {runs.resolve()}; the newest are:\n  {newest}\n"
        "Give a whole id, or paths.runs=<folder>"
    )
