"""Where the working time of a run went: seconds by phase, and what the GPU did meanwhile."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

PHASES = ("start", "data", "forward and backward", "optimizer", "validation", "checkpoints", "other")
"""Phases of training.

``start`` is all before the first step (a closed-form fit included), ``data`` is waiting for a batch and moving it to
the device, and ``optimizer`` includes averaged weights and the checks of a step.
"""


@dataclass(frozen=True)
class WorkingTime:
    """Working time of a run by phase.

    Args:
        seconds: Seconds by phase, in the order of ``PHASES``; empty if the run recorded none.
        gpu_busy: Mean utilisation of the GPU at logged steps, in percent; ``None`` without a GPU or NVIDIA's library.
        peak_memory_mib: Largest memory that tensors took on the GPU, in MiB; ``None`` without a GPU.
    """

    seconds: Mapping[str, float]
    gpu_busy: float | None = None
    peak_memory_mib: float | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Percent of the working time by phase.

        >>> WorkingTime({"data": 1.0, "validation": 3.0}).shares
        {'data': 25.0, 'validation': 75.0}
        """
        total = sum(self.seconds.values())
        return {phase: 100 * seconds / total for phase, seconds in self.seconds.items()} if total > 0 else {}

    def describe(self) -> str:
        """Return one line for people; empty if nothing was recorded.

        >>> WorkingTime({"data": 1.0, "validation": 3.0}, gpu_busy=15.0, peak_memory_mib=2048.0).describe()
        'data 25 %, validation 75 %; GPU busy 15 %, peak memory 2,048 MiB'
        """
        parts = ", ".join(f"{phase} {share:.0f} %" for phase, share in self.shares.items() if share >= 0.5)
        gpu = [] if self.gpu_busy is None else [f"GPU busy {self.gpu_busy:.0f} %"]
        gpu += [] if self.peak_memory_mib is None else [f"peak memory {self.peak_memory_mib:,.0f} MiB"]
        return "; ".join(filter(None, (parts, ", ".join(gpu))))

    def record(self) -> dict[str, Any]:
        """Return the fields of the ledger's event ``phases``, which `read_working_time` reads."""
        fields = {"gpu_busy": self.gpu_busy, "peak_memory_mib": self.peak_memory_mib}
        known = {name: round(value, 1) for name, value in fields.items() if value is not None}
        return {"seconds": {phase: round(seconds, 3) for phase, seconds in self.seconds.items()}, **known}


def read_working_time(events: Iterable[Mapping[str, Any]]) -> WorkingTime:
    """Add up the events ``phases`` of a ledger: one per epoch and process, those of a resumed run included.

    Args:
        events: Valid events of a ledger; others than ``phases`` are ignored.
    """
    found = [event for event in events if event["event"] == "phases"]
    totals = {phase: sum(event["seconds"].get(phase, 0.0) for event in found) for phase in PHASES}
    measured = [event for event in found if "gpu_busy" in event]
    weights = [sum(event["seconds"].values()) for event in measured]
    busy = sum(event["gpu_busy"] * weight for event, weight in zip(measured, weights, strict=True))
    return WorkingTime(
        seconds={phase: seconds for phase, seconds in totals.items() if seconds > 0},
        gpu_busy=busy / sum(weights) if sum(weights) > 0 else None,
        peak_memory_mib=max((event["peak_memory_mib"] for event in found if "peak_memory_mib" in event), default=None),
    )
