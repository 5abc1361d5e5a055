"""How well ``pairs.csv`` finds exchanged captions: ``python measure.py PAIRS_CSV SWAPPED_TXT LIST``.

Prints precision and recall as JSON, and writes LIST: the pairs that are called probably swapped, for ``data.exclude``.
"""

import csv
import json
import sys
from pathlib import Path

CUTS = (0.9, 0.75, 0.5, 0.3, 0.2, 0.1)


def measure(rows: list[dict[str, str]], swapped: set[str]) -> dict[str, object]:
    """Compare the table, whose first row is the most probable mismatch, with the exchanged captions."""
    is_swapped = [row["image"].removeprefix("'") in swapped for row in rows]
    probability = [float(row["probability"]) for row in rows]
    listed = ["probably swapped" in row["reason"].split("; ") for row in rows]
    k = sum(is_swapped)

    def quality(chosen: list[bool]) -> dict[str, float | int]:
        found = sum(s and c for s, c in zip(is_swapped, chosen, strict=True))
        expected = sum(p for p, c in zip(probability, chosen, strict=True) if c)
        precision = round(found / max(1, sum(chosen)), 3)
        return {"pairs": sum(chosen), "swapped": found, "expected": round(expected, 1), "precision": precision,
                "recall": round(found / k, 3)}  # fmt: skip

    return {
        "pairs": len(rows),
        "swapped": k,
        "listed": quality(listed),
        "first_k": quality([n < k for n in range(len(rows))]),
        "cuts": {str(cut): quality([p >= cut for p in probability]) for cut in CUTS},
        "reasons": {
            reason: sum(reason in row["reason"].split("; ") for row in rows)
            for reason in ("probably swapped", "duplicate", "no known word", "outlier picture")
        },
    }


if __name__ == "__main__":
    with Path(sys.argv[1]).open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    known = set(Path(sys.argv[2]).read_text("utf-8").split())
    print(json.dumps(measure(table, known), indent=1))
    chosen = [row["image"].removeprefix("'") for row in table if "probably swapped" in row["reason"].split("; ")]
    Path(sys.argv[3]).write_text("".join(f"{image}\n" for image in chosen), "utf-8")
