#!/usr/bin/env python3
"""Collect finished runs into the ``results.json`` of an experiment folder, and print them as a Markdown table.

``python experiments/collect.py runs/* --out experiments/<date>_<slug>`` prints one row per run, and one row with mean ±
standard deviation per group of runs that differ only in their seed.
"""

import argparse
import json
import shlex
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from tangka_match.metric_names import PRIMARY_METRIC, RECALLS
from tangka_match.records.run_files import read_run_files
from tangka_match.records.run_record import make_record

SHOWN = (*RECALLS, PRIMARY_METRIC, "rsum")
RESULTS = (
    "best_epoch", "best_step", "total_steps", "num_images", "num_captions", "val_metrics", "val_ci95", "verdicts",
)  # fmt: skip
"""Keys copied from ``result.json``."""


def read_run(folder: Path) -> dict[str, Any]:
    """Read what the table and ``results.json`` need of a finished run."""
    files = read_run_files(folder)
    record = make_record(files)
    words = shlex.split(files.environment["command"])
    # Name the program as a user would type it: `python -m tangka_match.train`, or the bare name of a console script.
    words = ["python", *words[1:]] if words[1] == "-m" else [Path(words[1]).name, *words[2:]]
    return {
        "run_id": record.run_id,
        "name": record.name,
        "command": shlex.join(word for word in words if not word.startswith("paths.")),
        "seed": record.seed,
        "git_commit": record.commit,
        "machine": files.environment["machine"],
        "packages": files.environment["packages"],
        "seconds": round(record.seconds),
        **{name: files.result[name] for name in RESULTS},
    }


def without_seed(run: dict[str, Any]) -> str:
    """Return the command without its seed, which repetitions of a run share."""
    return " ".join(word for word in run["command"].split() if not word.startswith("seed="))


def table(runs: list[dict[str, Any]]) -> str:
    """Make a Markdown table with one row per run, and mean ± standard deviation per group of seeds."""
    lines = [
        "| run | seed | i2t R@1 / 5 / 10 | t2i R@1 / 5 / 10 | mean R@1 [95 %] | rsum [95 %] | best / steps | guard |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        groups[without_seed(run)].append(run)
    for group in groups.values():
        lines += [_row(run) for run in group]
        if len(group) > 1:
            spread = {key: [run["val_metrics"][key] for run in group] for key in SHOWN}
            mean = {key: f"{statistics.mean(v):.2f} ± {statistics.stdev(v):.2f}" for key, v in spread.items()}
            i2t, t2i = (" / ".join(mean[key] for key in SHOWN[k : k + 3]) for k in (0, 3))
            lines.append(
                f"| **{group[0]['name']}** | {len(group)} seeds | {i2t} | {t2i} | **{mean['mean_r1']}** "
                f"| {mean['rsum']} | | |"
            )
    return "\n".join(lines)


def _row(run: dict[str, Any]) -> str:
    metrics, intervals = run["val_metrics"], run["val_ci95"]
    i2t, t2i = (" / ".join(f"{metrics[key]:.2f}" for key in SHOWN[k : k + 3]) for k in (0, 3))
    mean_r1, rsum = (
        f"{metrics[key]:.{digits}f} [{intervals[key][0]:.1f}, {intervals[key][1]:.1f}]"
        for key, digits in (("mean_r1", 2), ("rsum", 1))
    )
    verdicts = ", ".join(verdict["code"] for verdict in run["verdicts"]) or "none"
    return (
        f"| {run['name']} | {run['seed']} | {i2t} | {t2i} | {mean_r1} | {rsum} "
        f"| {run['best_step']} / {run['total_steps']} | {verdicts} |"
    )


def main() -> None:
    """Read the run folders, write ``results.json`` and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    finished = [read_run(folder) for folder in sorted(arguments.runs) if (folder / "result.json").is_file()]
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(finished, ensure_ascii=False, indent=1) + "\n"
    (arguments.out / "results.json").write_text(text, encoding="utf-8")
    print(table(finished))


if __name__ == "__main__":
    main()
