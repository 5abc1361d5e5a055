"""Curves thinned to what a screen can show."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_POINTS = 400
"""Points kept of one curve: a chart is some 600 pixels wide."""
FEWEST_POINTS = 60
"""Points kept of one curve, however many curves there are."""
PAGE_POINTS = 1_500_000
"""Points of all curves of a page, some 20 MB, as long as `FEWEST_POINTS` allows."""

Curve = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


def read_curves(events: Sequence[Mapping[str, Any]], num_runs: int) -> dict[str, Curve]:
    """The metrics of a run by name: steps done, from 1, and values; what is not finite is left out.

    Args:
        events: Of its ledger.
        num_runs: That share the page.

    Returns:
        Curves of at most so many points that the page stays below `PAGE_POINTS`.
    """
    points: dict[str, tuple[list[int], list[float]]] = {}
    for event in events:
        if event["event"] != "metrics":
            continue
        for name, value in event["values"].items():
            if math.isfinite(value):
                steps, values = points.setdefault(name, ([], []))
                steps.append(int(event["step"]) + 1)
                values.append(value)
    most = PAGE_POINTS // max(1, num_runs * len(points))
    most = max(FEWEST_POINTS, min(MOST_POINTS, most))
    return {name: thin(np.asarray(steps), np.asarray(values), most) for name, (steps, values) in points.items()}


def thin(steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64], most: int) -> Curve:
    """Keep the lowest and the highest value of each of ``most / 2`` stretches, and both ends.

    A curve drawn on as many pixels looks the same as the whole, spikes included (Jugel et al. 2014, "M4: A
    visualization-oriented time series data aggregation").

    Args:
        steps: In the order of time.
        values: Of the same length.
        most: Points to keep, at least 4.

    >>> steps, values = thin(np.arange(1_000), np.where(np.arange(1_000) == 500, 9.0, 0.0), 100)
    >>> len(steps) <= 100, float(values.max())
    (True, 9.0)
    """
    count = len(steps)
    if count <= most:
        return steps, values
    edges = np.linspace(0, count, (most - 2) // 2 + 1).astype(int)
    kept = {0, count - 1}
    for start, end in pairwise(edges):
        part = values[start:end]
        kept |= {start + int(part.argmin()), start + int(part.argmax())}
    chosen = np.array(sorted(kept))
    return steps[chosen], values[chosen]
