"""The ledger of a run: JSON lines that are appended during the run and never changed afterwards.

Each line is ``{"event": ..., "time": seconds since 1970, ...}``. Events:

- ``start``: written once; in a sweep it holds the sweep's id ``sweep`` and the number ``job``, always the ``overrides``
  of the command line.
- ``resume``: the run continues from a checkpoint that holds ``step`` optimizer steps.
- ``environment``: the machine on which the run continues.
- ``metrics``: ``values`` logged at ``step`` (from 0) and ``epoch``.
- ``checkpoint``: ``last.ckpt`` was written at ``step``.
- ``phases``: ``seconds`` by phase since the last such event, written at the end of each epoch; see ``working_time``.
- ``verdict``: warning of the training guard.
- ``end``: ``status`` is ``finished``, ``pruned``, ``stopped`` or ``failed``. A killed run has no ``end``.
"""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from tangka_match.files import naming

LATEST = 2.0**40
"""Upper bound of plausible times, in seconds since 1970; a later time means that the line is damaged."""


class Ledger:
    """Writer of a ``ledger.jsonl``; written lines outlive a kill, and those of a run's start and end a power cut.

    Args:
        path: Ledger file; created if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, **fields: Any) -> None:
        """Append one event.

        Args:
            event: Name of the event.
            fields: Further fields, plain values that JSON can hold.
        """
        append_line(self.path, event_line(event, fields), flush=event not in ("metrics", "checkpoint"))


class LedgerContent(NamedTuple):
    """Content of a ledger.

    Attributes:
        events: Valid events, in order.
        skipped: Number of lines that hold no valid event, because a kill cut them off or they are damaged.
    """

    events: list[dict[str, Any]]
    skipped: int


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """Return the events of `scan_ledger`."""
    return scan_ledger(path).events


def scan_ledger(path: Path) -> LedgerContent:
    """Read a ledger without the metrics that a resumed run logged again.

    A killed run resumes from its last checkpoint and repeats the steps after it. The ledger then holds the ``metrics``
    of these steps twice; only the later ones are returned.

    Args:
        path: A ``ledger.jsonl``.
    """
    events: list[dict[str, Any]] = []
    skipped = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            event = parse_line(line)
            if event is None or not _is_valid(event):
                skipped += bool(line.strip())
                continue
            if event["event"] == "resume":
                events = [e for e in events if e["event"] != "metrics" or e["step"] < event["step"]]
            events.append(event)
    return LedgerContent(events, skipped)


def event_line(event: str, fields: dict[str, Any]) -> str:
    """Return the JSON line of an event that happens now."""
    return json.dumps({"event": event, "time": round(time.time(), 3), **fields}, ensure_ascii=False) + "\n"


def append_line(path: Path, line: str, *, flush: bool = False) -> None:
    """Append a line to a file that several processes may write; a truncated last line is terminated first.

    Args:
        path: File, created if missing.
        line: Line with its end.
        flush: Whether to wait until the disk has it, so that it survives a power cut.

    Raises:
        OSError: If it cannot be written; ``filename`` is the path.
    """
    with naming(path), path.open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = file.seek(0, 2)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode())
        if flush:
            file.flush()
            os.fsync(file.fileno())


def parse_line(line: str | bytes) -> dict[str, Any] | None:
    """Parse a JSON object; ``None`` if the line is anything else."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _is_valid(event: dict[str, Any]) -> bool:
    """Whether an event has the fields that readers of its kind rely on."""
    kind, step, values = event.get("event"), event.get("step"), event.get("values", {})
    if not isinstance(kind, str) or not _is_time(event.get("time", 0.0)):
        return False
    if kind in ("metrics", "resume") and not (isinstance(step, int) and _is_number(step)):
        return False
    if kind == "metrics" and not (isinstance(values, dict) and all(map(_is_number, values.values()))):
        return False
    return kind != "end" or isinstance(event.get("status"), str)


def _is_number(value: object) -> bool:
    """Whether a value converts to float; NaN and infinity do, integers of 2^53 and more are taken for damage."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LATEST
