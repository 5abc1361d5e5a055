"""Metric curves of a run: read from its ledger, thinned for a screen, and drawn."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from tangka_match.metric_names import DEFAULT_MONITOR, RECALLS, VAL_PREFIX

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


mpl.use("Agg")

PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("loss", ("train/loss", "val/loss")),
    ("recall, %", tuple(f"{VAL_PREFIX}{name}" for name in RECALLS)),
    ("mean R@1, %", (DEFAULT_MONITOR,)),
    ("learning rate", ("train/lr",)),
    ("gradient norm", ("train/grad_norm",)),
    ("curriculum", ("train/hard_negatives", "train/margin", "train/temperature", "train/similarity_std")),
)


def draw_curves(events: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Draw loss, recalls, learning rate, gradient norm and curriculum against optimizer steps.

    Args:
        events: Of a run's ledger; only ``metrics`` events are read, and a metric that never occurs is left out.
        path: Of the PNG to write.
    """
    curves = metric_curves(events)
    figure, axes = plt.subplots(2, 3, figsize=(13, 6.5), constrained_layout=True)
    for panel, (title, names) in zip(axes.flat, PANELS, strict=True):
        _draw_panel(panel, title, {name: curves[name] for name in names if name in curves})
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_panel(panel: Axes, title: str, curves: Mapping[str, MetricCurve]) -> None:
    for name, (steps, values) in curves.items():
        style = "--" if "t2i" in name else "-"
        panel.plot(steps, values, style, label=name, linewidth=1.4, marker="." if len(steps) < 3 else None)
    panel.set_title(title, fontsize=10)
    panel.set_xlabel("optimizer steps", fontsize=8)
    panel.grid(alpha=0.25)
    panel.tick_params(labelsize=8)
    if curves:
        panel.legend(fontsize=7, framealpha=0.6)
