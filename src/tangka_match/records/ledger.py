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
import itertools
import json
import math
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tangka_match.files import naming
from tangka_match.records.schema import EVENT, OTHER_EVENT

MAX_LINE = 1 << 18
"""Longest line that is parsed, in bytes; the lines that are written have a few hundred."""
LONG_INTEGER = re.compile(rb": *-?\d{17,}(?![\d.eE])")
RESUME = b'"resume"'
UNKNOWN_KIND = "union_tag_invalid"


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


class LedgerLines:
    """Valid events of a ledger, read one by one, without the metrics that a resumed run logged again.

    A killed run resumes from its last checkpoint and repeats the steps after it. The ledger then holds the ``metrics``
    of these steps twice; only the later ones are returned. Lines that hold no valid event, because a kill cut them off
    or they are damaged, are skipped and counted.

    Args:
        path: A ``ledger.jsonl``.

    Attributes:
        skipped: Number of lines skipped so far.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.skipped = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read the file twice: first the few lines on which the others depend."""
        self.skipped = 0
        size = self._path.stat().st_size  # a running run may add lines meanwhile
        kept_below = _smallest_to_come(list(_resumes(self._path, size))) if _holds(self._path, RESUME) else []
        for number, line in _lines(self._path, size):
            if not line.strip():
                continue
            event = parse_event(line)
            if event is None:
                self.skipped += 1
                continue
            while kept_below and kept_below[-1][0] <= number:
                kept_below.pop()
            if event["event"] != "metrics" or not kept_below or event["step"] < kept_below[-1][1]:
                yield event


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """Return the valid events of a ledger; see `LedgerLines`."""
    return list(LedgerLines(path))


def _lines(path: Path, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield the numbered lines of the first ``size`` bytes; of a line that is too long, only its start."""
    with path.open("rb") as file:
        number = read = 0
        while read < size and (line := file.readline(MAX_LINE + 1)):
            number, read = number + 1, read + len(line)
            yield number, line
            while len(line) > MAX_LINE and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE + 1)
                read += len(line)


def _resumes(path: Path, size: int) -> Iterator[tuple[int, int]]:
    """Yield line and step of each valid ``resume`` event."""
    for number, line in _lines(path, size):
        event = parse_event(line) if RESUME in line else None
        if event is not None and event["event"] == "resume":
            yield number, event["step"]


def _smallest_to_come(resumes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the lines of resumes, last first, each with the smallest step of it and those after it.

    >>> _smallest_to_come([(4, 30), (7, 10), (9, 20)])
    [(9, 20), (7, 10), (4, 10)]
    """
    smallest = itertools.accumulate((step for _, step in reversed(resumes)), min)
    return [(number, step) for (number, _), step in zip(reversed(resumes), smallest, strict=True)]


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


def parse_event(line: bytes) -> dict[str, Any] | None:
    """Parse one event of a ledger; ``None`` if the line does not hold a valid one."""
    if len(line) > MAX_LINE:
        return None
    try:
        event = EVENT.validate_json(line)
    except ValidationError as error:
        return _other_event(line) if error.errors(include_url=False)[0]["type"] == UNKNOWN_KIND else None
    # An integer of hundreds of digits, which no writer writes, became infinite.
    return None if math.inf in event.get("values", {}).values() and LONG_INTEGER.search(line) else event


def _other_event(line: bytes) -> dict[str, Any] | None:
    try:
        return OTHER_EVENT.validate_json(line)
    except ValidationError:
        return None


def _holds(path: Path, word: bytes) -> bool:
    """Whether a file holds a word; far faster than going through its lines."""
    with path.open("rb") as file:
        before = b""
        while block := file.read(MAX_LINE):
            if word in before + block:
                return True
            before = block[-len(word) :]
    return False
