"""A line of the table: what was measured, its spread over the rounds, and whether the target holds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One measurement.

    Args:
        name: What was measured.
        unit: Of the numbers; ``x`` for a ratio.
        rounds: One number a round.
        target: What is asked for, if anything is.
        at_least: Whether the target is a floor; otherwise it is a ceiling.
        note: What else one has to know to read it.
    """

    name: str
    unit: str
    rounds: Sequence[float]
    target: float | None = None
    at_least: bool = True
    note: str = ""

    @property
    def median(self) -> float:
        """The middle round."""
        return median(self.rounds)

    @property
    def met(self) -> bool | None:
        """Whether the median is on the right side of the target; ``None`` without one."""
        if self.target is None:
            return None
        return self.median >= self.target if self.at_least else self.median <= self.target

    def as_json(self) -> dict[str, Any]:
        """All of it, the median and the verdict included."""
        return {**asdict(self), "rounds": list(self.rounds), "median": self.median, "met": self.met}


def print_rows(rows: Sequence[Row], console: Console) -> None:
    """Print the table."""
    table = Table("what", "median", "lowest … highest", "target", "met", "note")
    for row in rows:
        sign = "≥" if row.at_least else "≤"
        table.add_row(
            row.name,
            f"{row.median:.4g} {row.unit}",
            f"{min(row.rounds):.4g} … {max(row.rounds):.4g}",
            "" if row.target is None else f"{sign} {row.target:g} {row.unit}",
            {True: "yes", False: "NO", None: ""}[row.met],
            row.note,
        )
    console.print(table)
