"""Run the benchmarks, print and save the results: `make bench`, or `python -m benchmarks --only scoring,latency`.

All benchmarks run on the CPU with random weights of the published sizes, with competitors interleaved. With two threads
other load on the machine distorts the results; with `--threads 1` CPU time is measured, which it hardly changes.
"""

import argparse
import json
import platform
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.growth import growth_rows
from benchmarks.latency import latency_rows
from benchmarks.loading import loading_rows
from benchmarks.memory import memory_rows
from benchmarks.precision import precision_rows
from benchmarks.records import records_rows
from benchmarks.rows import Row, print_rows
from benchmarks.scoring import scoring_rows
from benchmarks.search import search_rows
from benchmarks.start_up import start_up_rows
from benchmarks.training_step import training_rows

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the chosen sections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="comma-separated sections; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="rounds per measurement")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--index", type=Path, help="folder of an index, whose vectors the search benchmark copies")
    parser.add_argument(
        "--largest", type=int, default=100_000, help="images of the search benchmark; 1000000 takes long"
    )
    parser.add_argument("--keep", type=Path, help="folder in which the search benchmark keeps its vectors and graph")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = RESULTS / f"{'-'.join(_cpu().lower().split())}-{options.threads}-threads"
    rounds = options.rounds
    sections: dict[str, Callable[[], list[Row]]] = {
        "startup": lambda: start_up_rows(rounds),
        "latency": lambda: latency_rows(20 * rounds),
        "loading": lambda: loading_rows(rounds),
        "precision": precision_rows,
        "scoring": lambda: scoring_rows("sgr", 200, 500, rounds) + scoring_rows("saf", 200, 500, rounds),
        "large": lambda: scoring_rows("sgr", 1000, 5000, rounds),
        "search": lambda: search_rows(20 * rounds, options.index, options.largest, options.keep),
        "training": lambda: training_rows("sgr", 128, rounds),
        "memory": memory_rows,
        "records": lambda: records_rows(rounds),
        "growth": lambda: growth_rows(results.with_suffix(".png"), rounds),
    }
    chosen = options.only.split(",") if options.only else list(sections)
    if unknown := set(chosen) - set(sections):
        parser.error(f"unknown section: {', '.join(sorted(unknown))}; allowed are {', '.join(sections)}")
    console = Console()
    found: list[Row] = []
    for name in chosen:
        console.print(f"measuring {name} …")
        found += sections[name]()
        _write(results.with_suffix(".json"), found)
    print_rows(found, console)
    console.print(f"written to {results}.json")


def _write(path: Path, rows: list[Row]) -> None:
    """Update the results file of this machine; rows not measured now are kept, with their commit."""
    path.parent.mkdir(exist_ok=True)
    kept = {row["name"]: row for row in json.loads(path.read_text("utf-8"))["rows"]} if path.exists() else {}
    stamp = {"commit": _commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M")}
    kept |= {row.name: {**row.as_json(), **stamp} for row in rows}
    facts = {"cpu": _cpu(), "threads": torch.get_num_threads(), "python": platform.python_version()}
    facts["torch"] = torch.__version__
    path.write_text(json.dumps({**facts, "rows": list(kept.values())}, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=RESULTS.parent).stdout.strip()


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
