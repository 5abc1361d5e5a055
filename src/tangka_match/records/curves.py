"""Metric curves of a run, read from the events of its ledger."""

import math
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

from tangka_match.records.history import History

MetricCurve = tuple["array[int]", "array[float]"]
"""Optimizer steps done, counted from 1, and the value of the metric after each of them."""


class CurveCollector:
    """Curves of all logged metrics, gathered event by event.

    The ledger numbers optimizer steps from 0; curves count the steps done. A point takes 16 bytes.

    Args:
        finite_only: Whether to leave out NaN and infinite values.
    """

    def __init__(self, *, finite_only: bool = False) -> None:
        self.curves: dict[str, MetricCurve] = {}
        self._finite_only = finite_only

    def add(self, event: Mapping[str, Any]) -> None:
        """Take an event of the ledger into account."""
        if event["event"] != "metrics":
            return
        done, curves = event["step"] + 1, self.curves
        for name, value in event["values"].items():
            if self._finite_only and not math.isfinite(value):
                continue
            curve = curves.get(name)
            if curve is None:
                curve = curves[name] = (array("q"), array("d"))
            curve[0].append(done)
            curve[1].append(value)


def metric_curves(events: Iterable[Mapping[str, Any]], *, finite_only: bool = False) -> dict[str, MetricCurve]:
    """Read the curve of every logged metric.

    Args:
        events: Events of a ledger.
        finite_only: Whether to leave out NaN and infinite values.

    Returns:
        Curves by the name of their metric.

    >>> metric_curves([{"event": "start"}, {"event": "metrics", "step": 3, "values": {"train/loss": 0.5}}])
    {'train/loss': (array('q', [4]), array('d', [0.5]))}
    """
    collector = CurveCollector(finite_only=finite_only)
    for event in events:
        collector.add(event)
    return collector.curves


def best_validation(events: Iterable[Mapping[str, Any]]) -> tuple[int, Mapping[str, float]] | None:
    """Find the validation with the highest finite ``val/mean_r1``, the earliest of equal ones.

    Args:
        events: Events of a ledger.

    Returns:
        Optimizer steps done and all metrics logged by that validation; ``None`` before the first validation.
    """
    history = History()
    for event in events:
        history.add(event)
    return history.best
