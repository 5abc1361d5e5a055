"""What a ledger says about a run, gathered in one pass over its events."""

import math
import statistics
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tangka_match.metric_names import DEFAULT_MONITOR

Steps = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Clock:
    """Working time at each logged step; the time between a stop and a resume is not counted.

    Args:
        steps: Optimizer steps done, ascending, (N,).
        seconds: Working time since the start, in seconds, (N,).
    """

    steps: Steps
    seconds: npt.NDArray[np.float64]

    def seconds_per_step(self) -> float | None:
        """Return the median time per optimizer step, including validation and checkpoints; ``None`` if unknown."""
        apart = np.diff(self.steps)
        if not (forward := apart > 0).any():
            return None
        return statistics.median((np.diff(self.seconds)[forward] / apart[forward]).tolist())


@dataclass
class History:
    """Summary of the events of a run, which are given one by one, in order.

    It needs 16 bytes per logged step.

    Args:
        start: The ``start`` event; empty before it.
        status: Status in the last ``end`` event; ``None`` if the run was continued since, or has not ended.
        verdicts: Code and message of each verdict of the training guard.
        phases: Events ``phases``.
        best: Optimizer steps done at the validation with the highest finite ``val/mean_r1``, the earliest of
            equal ones, and all its metrics; ``None`` before the first.
        seconds: Working time in total, in seconds.
    """

    start: Mapping[str, Any] = field(default_factory=dict)
    status: str | None = None
    verdicts: list[tuple[str, str]] = field(default_factory=list)
    phases: list[Mapping[str, Any]] = field(default_factory=list)
    best: tuple[int, Mapping[str, float]] | None = None
    seconds: float = 0.0
    _steps: "array[int]" = field(default_factory=lambda: array("q"))
    _times: "array[float]" = field(default_factory=lambda: array("d"))
    _last: float | None = None

    @property
    def clock(self) -> Clock:
        """Working time of the logged steps."""
        return Clock(np.array(self._steps, np.int64), np.array(self._times, np.float64))

    def add(self, event: Mapping[str, Any]) -> None:
        """Take an event of the ledger into account."""
        kind, time = event["event"], event.get("time")
        if time is not None:
            if self._last is not None and kind != "resume":
                self.seconds += max(0.0, time - self._last)
            self._last = time
        if kind == "metrics":
            self._add_metrics(event)
        elif kind == "verdict":
            self.verdicts.append((str(event["code"]), str(event["message"])))
        elif kind == "phases":
            self.phases.append(event)
        elif kind in ("start", "resume", "end"):
            self.status = event["status"] if kind == "end" else None
            if kind == "start" and not self.start:
                self.start = event

    def _add_metrics(self, event: Mapping[str, Any]) -> None:
        done, values = event["step"] + 1, event["values"]
        if event.get("time") is not None:
            self._steps.append(done)
            self._times.append(self.seconds)
        value = values.get(DEFAULT_MONITOR, math.nan)
        if math.isfinite(value) and (self.best is None or value > self.best[1][DEFAULT_MONITOR]):
            self.best = done, values
