"""Terminal tables of retrieval metrics: raw, and with corrections."""

from collections.abc import Mapping

from rich.table import Table

from tangka_match.metric_names import CUTOFFS, DIRECTION_LABELS, DIRECTIONS, PRIMARY_METRIC, RECALLS
from tangka_match.retrieval.corrections import TRANSDUCTIVE
from tangka_match.retrieval.evaluation import Evaluation, Measured


def recall_table(
    metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]], *, title: str, caption: str
) -> Table:
    """Build the table of the metrics of `metrics.summarise`, each above its 95 % interval.

    Args:
        metrics: Metrics by the names of `metrics.summarise`, in percent or ranks.
        intervals: Intervals (low, high) by the same names.
        title: Title of the table.
        caption: First part of the caption, to which an explanation of the intervals is added.
    """
    table = Table(title=title, caption=f"{caption}; below each number its 95 % interval over images")
    recalls = [f"r{k}" for k in CUTOFFS]
    for heading in ("", *(f"R@{k} %" for k in CUTOFFS), "median rank", "mean rank"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for direction, name in DIRECTION_LABELS.items():
        keys = [f"{direction}_{key}" for key in (*recalls, "median_rank", "mean_rank")]
        table.add_row(name, *(_with_interval(key, metrics, intervals) for key in keys))
    table.add_section()
    table.add_row("mean R@1", _with_interval(PRIMARY_METRIC, metrics, intervals))
    table.add_row("rsum", _with_interval("rsum", metrics, intervals))
    return table


def _with_interval(key: str, metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> str:
    low, high = intervals[key]
    digits = 1 if "rank" in key or key == "rsum" else 2
    return f"{metrics[key]:.{digits}f}\n[dim]{low:.1f}–{high:.1f}[/dim]"


NOTE = "transductive = uses all test queries at once; not comparable with raw results of other systems"


def variants_table(evaluation: Evaluation) -> Table:
    """Build the table of raw recalls, recalls after each correction, and recalls with near-duplicates as correct.

    Args:
        evaluation: Evaluation with a correction or near-duplicates.
    """
    transductive = any(name in TRANSDUCTIVE for name in evaluation.corrected)
    table = Table(title="raw and corrected metrics", caption=NOTE if transductive else None)
    table.add_column("")
    for direction in DIRECTIONS:
        for k in CUTOFFS:
            table.add_column(f"{direction}\nR@{k} %", justify="right", no_wrap=True)
    table.add_column("mean\nR@1 %", justify="right", no_wrap=True)
    table.add_row("raw", *_recalls(evaluation.raw), end_section=True)
    for name, measured in evaluation.corrected.items():
        mark = " (transductive)" if name in TRANSDUCTIVE else ""
        table.add_row(f"{name}{mark}", *_recalls(measured))
    near = evaluation.near_duplicates
    if near is not None:
        table.add_section()
        label = f"near-duplicates correct (threshold {near.threshold:g}, {near.extra_pairs:,} more pairs)"
        table.add_row(label, *_recalls(near.measured))
    return table


def _recalls(measured: Measured) -> list[str]:
    return [f"{measured.metrics[name]:.2f}" for name in (*RECALLS, PRIMARY_METRIC)]
