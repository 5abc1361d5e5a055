"""``manifest.jsonl`` of a sweep's folder: a JSON object a line, from which everything about the sweep is read.

Events, each with ``time``: ``sweep`` (once; ``sweep`` id, ``kind`` grid, study or seeds, ``digest`` of what is swept,
``identity`` in words, ``objectives``, ``git_commit``, ``sources``, ``command``), ``job`` (``job`` number,
``overrides``; in a study also ``params``), ``start`` (``job``, ``host``, ``pid``), ``end`` (``job``, ``status``
finished, pruned, failed or stopped, ``runs``: ids, ``metrics``: means over its seeds, ``std`` where there are several,
``seconds``, ``error``; ``reused`` where nothing had to run, ``resumed``: ids of runs that went on half-way),
``summary`` (of several seeds, for people: ``runs``, ``metrics``, ``std``, ``interval``: 95 % of the mean, ``ensemble``:
metrics of their mean scores, where asked for).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tangka_match.records.ledger import append_line, event_line, parse_line

ENDED_WELL = ("finished", "pruned")


@dataclass
class JobRecord:
    """What the manifest says of one job; ``end`` is the last one, and ``None`` while there is none."""

    number: int
    overrides: list[str] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    starts: int = 0
    end: dict[str, Any] | None = None

    @property
    def status(self) -> str:
        """``waiting``, ``running`` (or killed), or as its end says."""
        if self.end is not None:
            return str(self.end["status"])
        return "running" if self.starts else "waiting"


@dataclass
class ManifestContent:
    """A manifest as read; ``corrupt`` counts lines that are none of ours and were skipped."""

    header: dict[str, Any] = field(default_factory=dict)
    jobs: dict[int, JobRecord] = field(default_factory=dict)
    corrupt: int = 0


class Manifest:
    """Appends events, from any number of processes, and reads them.

    Args:
        path: Of the file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, **fields: Any) -> None:
        """Append one event; values must be plain (JSON). The line is with the system when this returns."""
        append_line(self.path, event_line(event, fields))

    def read(self) -> ManifestContent:
        """Read everything; a line cut off by a kill or a full disk is skipped and counted."""
        content = ManifestContent()
        if not self.path.exists():
            return content
        for line in self.path.read_bytes().splitlines():
            event = parse_line(line)
            if event is None or not _take(content, event):
                content.corrupt += 1
        return content


def _take(content: ManifestContent, event: dict[str, Any]) -> bool:
    kind, number = event.get("event"), event.get("job")
    if kind == "sweep" and {"sweep", "digest", "kind"} <= event.keys():
        content.header = event
        return True
    if kind == "summary":
        return True
    if not isinstance(number, int) or kind not in ("job", "start", "end"):
        return False
    if kind == "end" and not isinstance(event.get("status"), str):
        return False
    overrides, params = event.get("overrides", []), event.get("params", {})
    if not isinstance(overrides, list) or not isinstance(params, dict):
        return False
    job = content.jobs.setdefault(number, JobRecord(number))
    if kind == "job":
        job.overrides, job.params = list(overrides), dict(params)
    elif kind == "start":
        job.starts, job.end = job.starts + 1, None
    else:
        job.end = event
    return True
