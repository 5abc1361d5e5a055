"""The table of figures beside the raw ones: corrected for hubs, or with near-duplicates counted as right."""

from rich.table import Table

from tangka_match.metrics import CUTOFFS
from tangka_match.retrieval.corrections import TRANSDUCTIVE
from tangka_match.retrieval.evaluation import Evaluation, Measured

NOTE = "transductive = looks at all test queries at once: not comparable with the raw figures of other systems"


def variants_table(evaluation: Evaluation) -> Table:
    """A row for the raw figures, one for each correction, and one with near-duplicates counted as right.

    Args:
        evaluation: With at least one of them.
    """
    transductive = any(name in TRANSDUCTIVE for name in evaluation.corrected)
    table = Table(title="beside the raw figures", caption=NOTE if transductive else None)
    table.add_column("")
    for direction in ("i2t", "t2i"):
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
        label = f"near-duplicates right (threshold {near.threshold:g}, {near.extra_pairs:,} pairs more)"
        table.add_row(label, *_recalls(near.measured))
    return table


def _recalls(measured: Measured) -> list[str]:
    names = [f"{direction}_r{k}" for direction in ("i2t", "t2i") for k in CUTOFFS]
    return [f"{measured.metrics[name]:.2f}" for name in (*names, "mean_r1")]
