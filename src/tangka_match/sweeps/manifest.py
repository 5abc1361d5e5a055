"""``manifest.jsonl`` of a sweep folder: JSON lines from which everything about the sweep is read.

Events, each with ``time``:

- ``sweep``: written once; ``sweep`` id, ``kind`` (grid, study or seeds), ``digest`` of what is swept, ``identity`` (the
  same in full), ``objectives``, ``git_commit``, ``sources``, ``command``.
- ``job``: ``job`` number, ``overrides``; in a study also ``params``.
- ``start``: ``job``, ``host``, ``pid``.
- ``end``: ``job``, ``status`` (finished, pruned, failed or stopped), ``runs`` (ids), ``metrics`` (means over seeds),
  ``std`` with several seeds, ``seconds``, ``error``; ``reused`` if nothing had to run, ``resumed`` (ids of resumed
  runs), ``reports`` (objective by epoch, with pruning).
- ``summary``: of several seeds, for people: ``runs``, ``metrics``, ``std``, ``interval`` (95 % of the mean), and
  ``ensemble`` (metrics of their averaged scores) if requested; of several recipes these as ``members``, and the
  ``weights`` of the runs in the ensemble. Of a grid over folds: ``pooled``, per recipe and seed
  the metrics over the queries of all held-out folds, with intervals.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # that of typing lacks what pydantic needs before Python 3.12

from tangka_match.errors import count
from tangka_match.records.ledger import Ledger, parse_line
from tangka_match.records.schema import OPEN, Values, Whole

Epoch = Annotated[str, Field(pattern=r"^\d{1,9}$")]
"""Number of an epoch as JSON writes a key."""


@with_config(OPEN)
class _Sweep(TypedDict):
    sweep: str
    digest: str
    kind: str
    objectives: NotRequired[list[str]]


@with_config(OPEN)
class _Job(TypedDict):
    job: Whole
    overrides: NotRequired[list[str]]
    params: NotRequired[dict[str, Any]]


class _Completed(_Job):
    status: Literal["finished", "pruned"]
    runs: NotRequired[list[str]]
    metrics: Values
    std: NotRequired[Values]
    reports: NotRequired[dict[Epoch, float]]


class _Uncompleted(_Job):
    status: Literal["failed", "stopped"]
    runs: NotRequired[list[str]]
    metrics: NotRequired[Values]
    std: NotRequired[Values]
    reports: NotRequired[dict[Epoch, float]]
    error: NotRequired[str]


SCHEMAS: dict[str, TypeAdapter[Any]] = {
    "sweep": TypeAdapter(_Sweep),
    "job": TypeAdapter(_Job),
    "start": TypeAdapter(_Job),
    "end": TypeAdapter(_Completed | _Uncompleted),
    "summary": TypeAdapter(dict[str, Any]),
}
"""Schema of each kind of event: the fields that readers use."""
COMPLETED = ("finished", "pruned")
"""Statuses of jobs that need no further try."""


@dataclass
class JobRecord:
    """State of one job according to the manifest.

    Args:
        number: Number of the job, from 0.
        overrides: Overrides that its runs show.
        params: Searched values by name of setting, in a study.
        starts: Number of times it was started.
        end: Its last ``end`` event; ``None`` if it was not started or not ended since.
    """

    number: int
    overrides: list[str] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    starts: int = 0
    end: dict[str, Any] | None = None

    @property
    def status(self) -> str:
        """``waiting``, ``running`` (or killed), or the status of its end."""
        if self.end is not None:
            return str(self.end["status"])
        return "running" if self.starts else "waiting"


@dataclass
class ManifestContent:
    """Content of a manifest.

    Args:
        header: The ``sweep`` event.
        jobs: Jobs by number.
        corrupt: Number of damaged lines, which were skipped.
        path: Manifest file.
    """

    header: dict[str, Any] = field(default_factory=dict)
    jobs: dict[int, JobRecord] = field(default_factory=dict)
    corrupt: int = 0
    path: Path = Path("manifest.jsonl")

    def damage(self) -> list[str]:
        """Count the damaged lines and name the file, in one text; empty if there are none."""
        return [f"{count(self.corrupt, 'unreadable line')} skipped: {self.path}"] if self.corrupt else []


class Manifest(Ledger):
    """Writer and reader of a manifest that several processes may append to.

    Args:
        path: Manifest file; created if missing.
    """

    def read(self) -> ManifestContent:
        """Read all events; damaged lines are skipped and counted."""
        content = ManifestContent(path=self.path)
        if not self.path.exists():
            return content
        for line in self.path.read_bytes().splitlines():
            event = parse_line(line)
            if event is None or not _add(content, event):
                content.corrupt += 1
        return content


def _add(content: ManifestContent, event: dict[str, Any]) -> bool:
    """Add an event to the content; ``False`` if it is not valid."""
    schema = SCHEMAS.get(str(event.get("event")))
    if schema is None:
        return False
    try:
        schema.validate_python(event)
    except ValidationError:
        return False
    kind = event["event"]
    if kind == "summary":
        return True
    if kind == "sweep":
        content.header = event
        return True
    job = content.jobs.setdefault(event["job"], JobRecord(event["job"]))
    if kind == "job":
        job.overrides, job.params = list(event.get("overrides", [])), dict(event.get("params", {}))
    elif kind == "start":
        job.starts, job.end = job.starts + 1, None
    else:
        job.end = event
    return True
