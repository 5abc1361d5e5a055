"""``metrics.csv``: a row a step, a column a metric, readable while the run goes on."""

import csv
from collections.abc import Mapping
from pathlib import Path

KEYS = ("step", "epoch")


class MetricsTable:
    """Appends rows; when a metric turns up for the first time the file is written anew with its column.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: list[str] = list(KEYS)

    def replace(self, rows: list[dict[str, float]]) -> None:
        """Write the file anew: a resumed run begins with the rows that still count."""
        self._columns = list(dict.fromkeys([*KEYS, *(name for row in rows for name in row)]))
        self._write(rows)

    def append(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Add a row.

        Args:
            step: The optimizer step, from 0.
            epoch: From 0.
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
        partial = self._path.with_name(self._path.name + ".partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows([{**row, "step": int(row["step"]), "epoch": int(row["epoch"])} for row in rows])
        partial.replace(self._path)
