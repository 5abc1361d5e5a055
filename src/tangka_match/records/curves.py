"""Metric curves of a run, read from the events of its ledger."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from tangka_match.metric_names import DEFAULT_MONITOR

MetricCurve = tuple[list[int], list[float]]
"""Optimizer steps done, counted from 1, and the value of the metric after each of them."""


def metric_curves(events: Iterable[Mapping[str, Any]], *, finite_only: bool = False) -> dict[str, MetricCurve]:
    """Read the curve of every logged metric.

    The ledger numbers optimizer steps from 0; curves count the steps done.

    Args:
        events: Events of a ledger.
        finite_only: Whether to leave out NaN and infinite values.

    Returns:
        Curves by the name of their metric.

    >>> metric_curves([{"event": "start"}, {"event": "metrics", "step": 3, "values": {"train/loss": 0.5}}])
    {'train/loss': ([4], [0.5])}
    """
    curves: dict[str, MetricCurve] = {}
    for event in events:
        if event["event"] != "metrics":
            continue
        for name, value in event["values"].items():
            if math.isfinite(value) or not finite_only:
                steps, values = curves.setdefault(name, ([], []))
                steps.append(int(event["step"]) + 1)
                values.append(value)
    return curves


def best_validation(events: Iterable[Mapping[str, Any]]) -> tuple[int, Mapping[str, float]] | None:
    """Find the validation with the highest finite ``val/mean_r1``, the earliest of equal ones.

    Args:
        events: Events of a ledger.

    Returns:
        Optimizer steps done and all metrics logged by that validation; ``None`` before the first validation.
    """
    validations = [
        event
        for event in events
        if event["event"] == "metrics" and math.isfinite(event["values"].get(DEFAULT_MONITOR, math.nan))
    ]
    if not validations:
        return None
    best = max(validations, key=lambda event: float(event["values"][DEFAULT_MONITOR]))
    return int(best["step"]) + 1, best["values"]
