"""Runs that have already done, or half done, what a job of a sweep asks for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tangka_match.errors import TrainingError
from tangka_match.records.environment import CodeVersion, known_version
from tangka_match.records.ledger import parse_line
from tangka_match.records.run_folder import RunFolder, config_hash, decisive_settings

TAIL = 4096  # bytes that surely hold the last event of a ledger


@dataclass(frozen=True)
class PastRun:
    """A run found on disk.

    Args:
        folder: Of the run.
        status: ``finished``, ``pruned``, ``stopped``, ``failed``, or ``unknown`` of a run that was killed or is going.
    """

    folder: RunFolder
    status: str

    def can_go_on(self) -> bool:
        """Whether it has stopped half-way, and no process is running it."""
        if self.status in ("finished", "pruned"):
            return False
        try:
            self.folder.lock().close()
        except (TrainingError, OSError):
            return False
        return True


def find_runs(runs: Path, config: dict[str, Any], fingerprint: str, code: CodeVersion | None) -> list[PastRun]:
    """Find the runs of the same settings, data and code, the newest first.

    Args:
        runs: Folder of all runs.
        config: Composed and plain.
        fingerprint: Of the data.
        code: That made them; ``None`` takes every one. A run whose ledger does not say which counts as another.
    """
    digest, decisive = config_hash(config), decisive_settings(config)
    found = []
    # The id of a run holds the hash of its config, so that only few ledgers are opened.
    for path in sorted(runs.glob(f"*-{digest}-*/ledger.jsonl"), reverse=True):
        start, last = _ends_of(path)
        if start.get("config_hash") != digest or start.get("data_fingerprint") != fingerprint:
            continue
        if code is not None and code != known_version(start.get("git_commit"), str(start.get("sources"))):
            continue
        saved = _saved_config(path.parent / "config.yaml")
        if saved is None or decisive_settings(saved) != decisive:
            continue
        run_id = path.parent.name
        checkpoints = Path(saved["paths"]["checkpoints"]) / saved["name"] / run_id
        status = str(last.get("status")) if last.get("event") == "end" else "unknown"
        found.append(PastRun(RunFolder(run_id, path.parent, checkpoints), status))
    return found


def _ends_of(ledger: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """First and last event, without reading what lies between."""
    with ledger.open("rb") as file:
        first = parse_line(file.readline()) or {}
        file.seek(max(0, file.seek(0, 2) - TAIL))
        events = [event for line in file.read().splitlines() if (event := parse_line(line))]
    return first, events[-1] if events else {}


def _saved_config(path: Path) -> dict[str, Any] | None:
    """A run's config, or ``None`` where the file is missing or damaged."""
    try:
        saved = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, ValueError):
        return None
    return saved if isinstance(saved, dict) and "paths" in saved and "name" in saved else None
