"""The ledger: one JSON object a line, written as things happen and never changed afterwards.

A line is ``{"event": ..., "time": seconds since 1970, ...}``. Events: ``start`` (once; with the ``overrides`` of the
command line and, in a sweep, its id ``sweep`` and the number ``job``), ``resume`` (``step``: optimizer steps that the
checkpoint holds) and ``environment`` (where it went on), ``metrics`` (``step``, from 0, ``epoch``, ``values``),
``checkpoint`` (``last.ckpt`` was written, ``step``), ``verdict`` (of the guard), ``end`` (``status``: ``finished``,
``pruned``, ``stopped`` or ``failed``). A run that was killed has no ``end``.
"""

import fcntl
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

LATEST = 2.0**40
"""Seconds since 1970 that no clock shows: a later time is damage."""


class Ledger:
    """Appends events to a ``ledger.jsonl``; each line is on disk when ``write`` returns.

    Args:
        path: Of the file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, **fields: Any) -> None:
        """Append one event; values must be plain (JSON)."""
        line = json.dumps({"event": event, "time": round(time.time(), 3), **fields}, ensure_ascii=False)
        torn = self.path.exists() and self.path.read_bytes()[-1:] not in (b"", b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + line + "\n")


class LedgerContent(NamedTuple):
    """What a ledger says.

    Attributes:
        events: Those that count, in order.
        skipped: Lines that hold no event: torn by a kill, or damaged.
    """

    events: list[dict[str, Any]]
    skipped: int


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """The events of `scan_ledger`."""
    return scan_ledger(path).events


def scan_ledger(path: Path) -> LedgerContent:
    """Read the events that count: metrics that a resumed run wrote again are left out.

    A killed run goes on from its last checkpoint and repeats the steps after it, so the ``metrics`` lines of those
    steps stand twice; only the later ones are returned.

    Args:
        path: Of a ``ledger.jsonl``.
    """
    events: list[dict[str, Any]] = []
    skipped = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            event = _parse(line)
            if event is None:
                skipped += bool(line.strip())
                continue
            if event["event"] == "resume":
                events = [e for e in events if e["event"] != "metrics" or e["step"] < event["step"]]
            events.append(event)
    return LedgerContent(events, skipped)


def _parse(line: str) -> dict[str, Any] | None:
    """The event of a line, or ``None`` where it is torn, or lacks what its kind of event is read for."""
    try:
        event = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return None
    return event if isinstance(event, dict) and _holds_what_is_read(event) else None


def _holds_what_is_read(event: dict[str, Any]) -> bool:
    kind, step, values = event.get("event"), event.get("step"), event.get("values", {})
    if not isinstance(kind, str) or not _is_time(event.get("time", 0.0)):
        return False
    if kind in ("metrics", "resume") and not (isinstance(step, int) and _is_number(step)):
        return False
    if kind == "metrics" and not (isinstance(values, dict) and all(map(_is_number, values.values()))):
        return False
    return kind != "end" or isinstance(event.get("status"), str)


def _is_number(value: object) -> bool:
    """Infinities and no-numbers are numbers that a run may log; whole numbers beyond any float are none."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LATEST


def append_line(path: Path, line: str) -> None:
    """Append a line to a file that several processes write; a torn line before it is closed first."""
    with path.open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = file.seek(0, 2)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode())


def parse_line(line: bytes) -> dict[str, Any] | None:
    """A JSON object, or ``None`` for whatever else a damaged file holds."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
