"""The ledger: one JSON object a line, written as things happen and never changed afterwards.

A line is ``{"event": ..., "time": seconds since 1970, ...}``. Events: ``start`` (once; a run of a sweep has ``sweep``,
``job`` and ``overrides`` there), ``resume`` (``step``: optimizer steps that the checkpoint holds) and ``environment``
(where it went on), ``metrics`` (``step``, from 0, ``epoch``, ``values``), ``checkpoint`` (``last.ckpt`` was written,
``step``), ``verdict`` (of the guard), ``end`` (``status``: ``finished``, ``pruned``, ``stopped`` or ``failed``). A run
that was killed has no ``end``.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


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


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """Read the events that count: metrics that a resumed run wrote again are left out.

    A killed run goes on from its last checkpoint and repeats the steps after it, so the ``metrics`` lines of those
    steps stand twice; only the later ones are returned. Lines cut off by a kill are skipped.

    Args:
        path: Of a ``ledger.jsonl``.

    Returns:
        Events in order.
    """
    events: list[dict[str, Any]] = []
    for event in _lines(path):
        if event.get("event") == "resume":
            events = [e for e in events if e["event"] != "metrics" or e["step"] < event["step"]]
        events.append(event)
    return events


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(event, dict) and "event" in event:
                yield event
