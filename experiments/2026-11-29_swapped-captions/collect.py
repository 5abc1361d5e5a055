"""Collect the figures of the README into ``results.json``: ``python collect.py SINGLE RUNS SWAPPED_TXT MEASURED...``.

SINGLE holds ``<arm><seed>/eval/metrics.json`` of the single runs; RUNS the runs and the sweeps ``swapped``, ``listed``
and ``plain``, as far as they exist; MEASURED are outputs of ``measure.py``, stored by the name of their file.
"""

import csv
import json
import sys
from pathlib import Path

KEPT = ("mean_r1", "mean_r1_ci95", "rsum", "rsum_ci95", "i2t_r1", "t2i_r1")


def pooled(runs: Path, sweep: str, swapped: set[str]) -> dict[str, float | int]:
    """Mean R@1 over the held-out folds of a sweep: over all pairs, and over those that were not exchanged."""
    events = map(json.loads, (runs / "sweeps" / sweep / "manifest.jsonl").read_text("utf-8").splitlines())
    ids = [run for event in events if event["event"] == "end" for run in event["runs"]]
    rows = []
    for run in ids:
        with (runs / run / "ranks.csv").open(encoding="utf-8", newline="") as file:
            rows += [(row["direction"], row["image"] in swapped, row["rank"] == "1") for row in csv.DictReader(file)]

    def mean_r1(counted: list[tuple[str, bool, bool]]) -> float:
        hits = [[hit for direction, _, hit in counted if direction == wanted] for wanted in ("i2t", "t2i")]
        return round(sum(100 * sum(each) / len(each) for each in hits) / 2, 2)

    return {
        "runs": len(ids),
        "images": len(rows) // 2,
        "mean_r1": mean_r1(rows),
        "mean_r1_not_exchanged": mean_r1([row for row in rows if not row[1]]),
    }


if __name__ == "__main__":
    single, runs, swapped = Path(sys.argv[1]), Path(sys.argv[2]), set(Path(sys.argv[3]).read_text("utf-8").split())
    metrics = {
        path.parent.parent.name: json.loads(path.read_text("utf-8")) for path in single.glob("*/eval/metrics.json")
    }
    folds = [
        sweep for sweep in ("swapped", "listed", "plain") if (runs / "sweeps" / sweep / "manifest.jsonl").is_file()
    ]
    results = {
        "test5": {name: {key: metrics[name][key] for key in KEPT} for name in sorted(metrics)},
        "folds": {sweep: pooled(runs, sweep, swapped) for sweep in folds},
        "lists": {Path(path).stem: json.loads(Path(path).read_text("utf-8")) for path in sys.argv[4:]},
    }
    out = Path(__file__).with_name("results.json")
    out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print(json.dumps(results, indent=1))
