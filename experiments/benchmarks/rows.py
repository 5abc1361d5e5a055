"""Rows of the results table: a measurement, its spread over the rounds, and whether it meets its target."""

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
        name: Name of the measurement.
        unit: Unit of the values; ``x`` for a ratio.
        rounds: One value per round.
        target: Target value, if there is one.
        at_least: Whether the target is a lower bound; otherwise it is an upper bound.
        note: Remark for the table.
    """

    name: str
    unit: str
    rounds: Sequence[float]
    target: float | None = None
    at_least: bool = True
    note: str = ""

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return median(self.rounds)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; ``None`` without a target."""
        if self.target is None:
            return None
        return self.median >= self.target if self.at_least else self.median <= self.target

    def as_json(self) -> dict[str, Any]:
        """Return all fields, the median and whether the target is met."""
        return {**asdict(self), "rounds": list(self.rounds), "median": self.median, "met": self.met}


def print_rows(rows: Sequence[Row], console: Console) -> None:
    """Print the rows as a table."""
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
