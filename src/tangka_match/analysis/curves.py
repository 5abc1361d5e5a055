"""The curves of one run as a picture: what people look at before they read a table."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from tangka_match.analysis.metric_curves import MetricCurve, metric_curves

PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("loss", ("train/loss", "val/loss")),
    ("recall, %", ("val/i2t_r1", "val/i2t_r5", "val/i2t_r10", "val/t2i_r1", "val/t2i_r5", "val/t2i_r10")),
    ("mean R@1, %", ("val/mean_r1",)),
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
