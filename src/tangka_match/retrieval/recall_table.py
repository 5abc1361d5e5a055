"""The table of recalls that training and evaluation print."""

from collections.abc import Mapping

from rich.table import Table

from tangka_match.metrics import CUTOFFS


def recall_table(
    metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]], *, title: str, caption: str
) -> Table:
    """The six recalls, mean R@1 and rsum above their 95 % intervals, and the ranks.

    Args:
        metrics: By the names of ``metrics.summarise``, in percent or ranks.
        intervals: (low, high) by the same names.
        title: What was measured.
        caption: Below the table; what the intervals are is added.
    """
    table = Table(title=title, caption=f"{caption}; below each number its 95 % bootstrap interval over images")
    recalls = [f"r{k}" for k in CUTOFFS]
    for heading in ("", *(f"R@{k} %" for k in CUTOFFS), "median rank", "mean rank"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for direction, name in (("i2t", "image→text"), ("t2i", "text→image")):
        keys = [f"{direction}_{key}" for key in (*recalls, "median_rank", "mean_rank")]
        table.add_row(name, *(_with_interval(key, metrics, intervals) for key in keys))
    table.add_section()
    table.add_row("mean R@1", _with_interval("mean_r1", metrics, intervals))
    table.add_row("rsum", _with_interval("rsum", metrics, intervals))
    return table


def _with_interval(key: str, metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> str:
    low, high = intervals[key]
    digits = 1 if "rank" in key or key == "rsum" else 2
    return f"{metrics[key]:.{digits}f}\n[dim]{low:.1f}–{high:.1f}[/dim]"
