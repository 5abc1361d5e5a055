"""Metric curves of a run, thinned for the report page or drawn into ``curves.png``."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tangka_match.metric_names import DEFAULT_MONITOR, RECALLS, VAL_PREFIX
from tangka_match.records.curves import MetricCurve, metric_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""Optimizer steps done, counted from 1, and the value after each of them."""

MAX_POINTS = 400
"""Most points kept of one curve: a chart is some 600 pixels wide."""
MIN_POINTS = 40
"""Fewest points kept of one curve, regardless of the number of curves."""
PAGE_POINTS = 350_000
"""Most points of all curves of a page (some 4 MB), as long as `MIN_POINTS` allows."""
PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("loss", ("train/loss", "val/loss")),
    ("recall, %", tuple(f"{VAL_PREFIX}{name}" for name in RECALLS)),
    ("mean R@1, %", (DEFAULT_MONITOR,)),
    ("learning rate", ("train/lr",)),
    ("gradient norm", ("train/grad_norm",)),
    ("curriculum", ("train/hard_negatives", "train/margin", "train/temperature", "train/similarity_std")),
)


def thin_curves(curves: Mapping[str, MetricCurve], num_runs: int) -> dict[str, Curve]:
    """Thin the metric curves of a run for a report page.

    Args:
        curves: Finite curves by the name of their metric.
        num_runs: Number of runs on the page; they share `PAGE_POINTS`.

    Returns:
        Thinned curves by the name of their metric.
    """
    most = PAGE_POINTS // max(1, num_runs * len(curves))
    most = max(MIN_POINTS, min(MAX_POINTS, most))
    return {name: thin(np.asarray(steps), np.asarray(values), most) for name, (steps, values) in curves.items()}


def thin(steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64], most: int) -> Curve:
    """Keep both ends of a curve and the lowest and highest value of each of ``most / 2`` intervals.

    Drawn at that many pixels, the thinned curve looks like the full one, including spikes (Jugel et al. 2014, "M4: A
    Visualization-Oriented Time Series Data Aggregation").

    Args:
        steps: Optimizer steps, ascending, (N,).
        values: Values of the metric, (N,).
        most: Number of points to keep, at least 4.

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


def draw_curves(events: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Draw loss, recalls, learning rate, gradient norm and curriculum against optimizer steps done.

    Args:
        events: Events of a run's ledger; metrics that were never logged are left out.
        path: PNG file to write.
    """
    import matplotlib as mpl  # noqa: PLC0415 - `report` reads curves without drawing any
    import matplotlib.pyplot as plt  # noqa: PLC0415

    mpl.use("Agg")
    curves = metric_curves(events)
    figure, axes = plt.subplots(2, 3, figsize=(13, 6.5), constrained_layout=True)
    for panel, (title, names) in zip(axes.flat, PANELS, strict=True):
        _draw_panel(panel, title, {name: curves[name] for name in names if name in curves})
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_panel(panel: "Axes", title: str, curves: Mapping[str, MetricCurve]) -> None:
    for name, (steps, values) in curves.items():
        style = "--" if "t2i" in name else "-"
        panel.plot(steps, values, style, label=name, linewidth=1.4, marker="." if len(steps) < 3 else None)
    panel.set_title(title, fontsize=10)
    panel.set_xlabel("optimizer steps", fontsize=8)
    panel.grid(alpha=0.25)
    panel.tick_params(labelsize=8)
    if curves:
        panel.legend(fontsize=7, framealpha=0.6)
