"""The metrics of a run's ledger as curves over optimizer steps."""

from collections.abc import Iterable, Mapping
from typing import Any

MetricCurve = tuple[list[int], list[float]]
"""Optimizer steps, and the value at each."""


def metric_curves(events: Iterable[Mapping[str, Any]]) -> dict[str, MetricCurve]:
    """Return the curve of every metric that occurs; only ``metrics`` events are read.

    >>> metric_curves([{"event": "start"}, {"event": "metrics", "step": 3, "values": {"train/loss": 0.5}}])
    {'train/loss': ([3], [0.5])}
    """
    curves: dict[str, MetricCurve] = {}
    for event in events:
        if event["event"] == "metrics":
            for name, value in event["values"].items():
                steps, values = curves.setdefault(name, ([], []))
                steps.append(event["step"])
                values.append(value)
    return curves
