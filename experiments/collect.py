#!/usr/bin/env python3
"""Collect finished runs into the table and the ``results.json`` of an experiment folder.

``python experiments/collect.py runs/* --out experiments/<date>_<slug>`` writes ``results.json`` and prints the table in
Markdown: a row a run, and a row with mean ± standard deviation where runs differ in nothing but the seed.
"""

import argparse
import json
import shlex
import statistics
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from tangka_match.records.ledger import read_ledger

SHOWN = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "mean_r1", "rsum")


def read_run(folder: Path) -> dict[str, Any]:
    """What a table needs of one finished run."""
    result = json.loads((folder / "result.json").read_text("utf-8"))
    environment = json.loads((folder / "environment.json").read_text("utf-8"))
    events = read_ledger(folder / "ledger.jsonl")
    words = shlex.split(environment["command"])
    # `python -m tangka_match.train ...`, or a console script, of which the name is enough
    words = ["python", *words[1:]] if words[1] == "-m" else [Path(words[1]).name, *words[2:]]
    start = next(event for event in events if event["event"] == "start")
    return {
        "run_id": result["run_id"],
        "name": result["name"],
        "command": shlex.join(word for word in words if not word.startswith("paths.")),
        "seed": start["seed"],
        "git_commit": start["git_commit"],
        "machine": environment["machine"],
        "packages": environment["packages"],
        "seconds": round(seconds_at_work(events)),
        "best_epoch": result["best_epoch"],
        "best_step": result["best_step"],
        "total_steps": result["total_steps"],
        "num_images": result["num_images"],
        "num_captions": result["num_captions"],
        "val_metrics": result["val_metrics"],
        "val_ci95": result["val_ci95"],
        "verdicts": result["verdicts"],
    }


def seconds_at_work(events: list[dict[str, Any]]) -> float:
    """Time from the first event to the last, without the pauses before the run was resumed."""
    pairs = pairwise(events)
    return sum(after["time"] - before["time"] for before, after in pairs if after["event"] != "resume")


def without_seed(run: dict[str, Any]) -> str:
    """The command apart from its seed: runs that share it are repetitions."""
    return " ".join(word for word in run["command"].split() if not word.startswith("seed="))


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: a row a run, then mean ± standard deviation of each group of seeds."""
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
    """Read the folders, write ``results.json``, print the table."""
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
