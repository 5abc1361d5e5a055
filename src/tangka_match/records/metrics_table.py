"""``metrics.csv``: one row per logged step and one column per metric, readable during the run."""

import csv
from collections.abc import Mapping
from pathlib import Path

from tangka_match.files import written_completely

KEYS = ("step", "epoch")


class MetricsTable:
    """Writer of a CSV table that is rewritten with a further column when a new metric is logged.

    Args:
        path: CSV file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: list[str] = list(KEYS)

    def replace(self, rows: list[dict[str, float]]) -> None:
        """Replace all rows; a resumed run starts with the rows before its checkpoint."""
        self._columns = list(dict.fromkeys([*KEYS, *(name for row in rows for name in row)]))
        self._write(rows)

    def append(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Append a row.

        Args:
            step: Optimizer step, from 0.
            epoch: Epoch, from 0.
            values: Metrics by name.
        """
        row: dict[str, float] = {"step": step, "epoch": epoch, **values}
        new = [name for name in row if name not in self._columns]
        if new or not self._path.exists():
            rows = self._read()
            self._columns += new
            self._write([*rows, row])
            return
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def _read(self) -> list[dict[str, float]]:
        if not self._path.exists():
            return []
        with self._path.open(newline="", encoding="utf-8") as file:
            return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]

    def _write(self, rows: list[dict[str, float]]) -> None:
        with written_completely(self._path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows([{**row, "step": int(row["step"]), "epoch": int(row["epoch"])} for row in rows])
