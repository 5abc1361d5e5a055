"""Past runs with the same settings, data and code as a planned one, to reuse or to resume."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangka_match.errors import DataFormatError, TrainingError
from tangka_match.records.environment import CodeVersion, known_version
from tangka_match.records.ledger import MAX_LINE, parse_event
from tangka_match.records.run_folder import RunFolder, config_hash, decisive_settings
from tangka_match.records.saved_files import read_mapping
from tangka_match.records.schema import CONFIG

logger = logging.getLogger(__name__)
TAIL_BYTES = 4096
"""Number of bytes at the end of a ledger that are read to find its last event."""


@dataclass(frozen=True)
class PastRun:
    """Past run that a planned run may reuse or resume.

    Args:
        folder: Folder of the run.
        status: ``finished``, ``pruned``, ``stopped``, ``failed``, ``incomplete`` if it has finished but lacks outputs
            that can be written again, or ``unknown`` if it was killed or is still running.
    """

    folder: RunFolder
    status: str

    def can_go_on(self) -> bool:
        """Whether the run can be resumed: it is unfinished or lacks outputs, and no process is running it."""
        if self.status in ("pruned", "finished"):
            return False
        try:
            self.folder.lock().close()
        except (TrainingError, OSError):
            return False
        return True


def find_runs(runs: Path, config: dict[str, Any], fingerprint: str, code: CodeVersion | None) -> list[PastRun]:
    """Find the runs with the same settings, data and code, newest first.

    Args:
        runs: Folder of all runs.
        config: Composed config as plain values.
        fingerprint: Fingerprint of the data.
        code: Version of the code; ``None`` accepts any. A run whose ledger does not name its version never matches.
    """
    digest, decisive = config_hash(config), decisive_settings(config)
    found = []
    # Run ids contain the hash of the config, so only few ledgers are opened.
    for path in sorted(runs.glob(f"*-{digest}-*/ledger.jsonl"), reverse=True):
        try:
            start, last = _first_and_last_event(path)
        except OSError as error:
            logger.warning("%s cannot be read (%s): this run is not reused", path, error.strerror)
            continue
        if start.get("config_hash") != digest or start.get("data_fingerprint") != fingerprint:
            continue
        if start.get("parent"):  # a continuation differs from a run that had this length from the start
            continue
        if code is not None and code != known_version(start.get("git_commit"), str(start.get("sources"))):
            continue
        saved = _saved_config(path.parent / "config.yaml")
        if saved is None:
            logger.warning("%s: damaged or missing: this run is not reused", path.parent / "config.yaml")
            continue
        if decisive_settings(saved) != decisive:
            continue
        run_id = path.parent.name
        checkpoints = Path(saved["paths"]["checkpoints"]) / saved["name"] / run_id
        folder = RunFolder(run_id, path.parent, checkpoints)
        status = str(last.get("status")) if last.get("event") == "end" else "unknown"
        if status == "finished" and folder.missing_outputs():
            status = "incomplete"
        elif status == "finished" and not folder.has_result():
            logger.warning("%s: damaged or missing: this run is not reused", path.parent / "result.json")
            continue
        found.append(PastRun(folder, status))
    return found


def _first_and_last_event(ledger: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the first and the last event without the events between them."""
    with ledger.open("rb") as file:
        first = parse_event(file.readline(MAX_LINE)) or {}
        file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
        events = [event for line in file.read().splitlines() if (event := parse_event(line))]
    return first, events[-1] if events else {}


def _saved_config(path: Path) -> dict[str, Any] | None:
    """Read the config of a run; ``None`` if the file is missing or damaged."""
    try:
        saved = read_mapping(path, CONFIG)
    except (OSError, DataFormatError):
        return None
    return saved if isinstance(saved.get("paths", {}).get("checkpoints"), str) and "name" in saved else None
