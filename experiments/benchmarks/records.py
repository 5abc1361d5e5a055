"""Lists and reports of many runs: CPU time, peak memory and size of the page, measured in fresh processes."""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks.rows import Row

BEGAN = 1.79e9
TRAIN = {"train/loss": 0.123456789, "train/lr": 0.000123456}
RECALLS = ("mean_r1", "rsum", "i2t_r1", "t2i_r1", "i2t_r5", "t2i_r5", "i2t_r10", "t2i_r10")
VAL = {f"val/{name}": 12.3456789 for name in RECALLS}
BIG_LEDGER = 200_000_000
WAIT = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Program that runs another and prints what it used; a child inherits the peak of its parent, so this one is small."""


def records_rows(rounds: int) -> list[Row]:
    """Measure ``report`` and ``runs`` in seconds of CPU time, which other programs hardly change, and in MiB."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number in range(500):
            _write_ranks(_write_run(root / "report", number, steps=1000, every=1), number)
        for number in range(2000):
            _write_run(root / "runs", number, steps=40, every=2)
        _write_run(root / "big", 0, steps=1_000_000, every=1, most=BIG_LEDGER)
        page = root / "report.html"
        report = [_measure("report", f"runs={root / 'report'}", f"out={page}") for _ in range(rounds)]
        runs = [_measure("runs", f"runs={root / 'runs'}") for _ in range(rounds)]
        big = [_measure("runs", f"runs={root / 'big'}") for _ in range(rounds)]
        size = page.stat().st_size / 1e6
    what = "report, 500 runs x 1,000 points"
    return [
        Row(f"{what}: CPU time", "s", [seconds for seconds, _ in report], 10, at_least=False),
        Row(f"{what}: peak memory", "MiB", [peak for _, peak in report], 300, at_least=False),
        Row(f"{what}: page", "MB", [size], 5, at_least=False),
        Row("runs, 2,000 folders: CPU time", "s", [seconds for seconds, _ in runs], 3, at_least=False),
        Row("runs, a ledger of 200 MB: peak memory", "MiB", [peak for _, peak in big], 200, at_least=False),
        Row("runs, a ledger of 200 MB: CPU time", "s", [seconds for seconds, _ in big]),
    ]


def _measure(command: str, *words: str) -> tuple[float, float]:
    """Return the CPU seconds and the peak resident MiB of a command."""
    program = [sys.executable, "-m", f"tangka_match.{command}", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WAIT, *program], check=True, capture_output=True, text=True, env=environment
    )
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak


def _write_ranks(folder: Path, number: int) -> None:
    """Write the ranks of 363 images and captions, so that the report compares the recipes query by query."""
    draws = random.Random(number)  # noqa: S311 - not a secret
    lines = ["direction,query,image,rank,best_wrong,score_correct,score_wrong"]
    for direction in ("i2t", "t2i"):
        lines += [
            f"{direction},{query},{query},{draws.randint(1, 363)},{draws.randrange(363)},0.5,{draws.random()}"
            for query in range(363)
        ]
    (folder / "ranks.csv").write_text("\n".join(lines) + "\n", "utf-8")


def _write_run(root: Path, number: int, *, steps: int, every: int, most: int | None = None) -> Path:
    folder = root / f"run-{number:04}"
    folder.mkdir(parents=True)
    config = {
        "name": "targeted", "tags": ["bench"], "seed": number % 5, "paths": {"runs": str(root)},
        "loss": {"margin": 0.1 + number // 5 % 10 / 50}, "optimizer": {"lr": 1e-4 * (1 + number // 50)},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    with (folder / "ledger.jsonl").open("w", encoding="utf-8") as file:
        written = file.write(_line("start", 0, name="targeted", seed=number % 5))
        for step in range(every - 1, steps, every):
            written += file.write(_line("metrics", step, step=step, epoch=0, values=TRAIN))
            if (step + 1) % (5 * every) == 0:
                written += file.write(_line("metrics", step, step=step, epoch=0, values=VAL))
            if most is not None and written > most:
                break
        file.write(_line("end", steps, status="finished"))
    return folder


def _line(event: str, second: float, **fields: object) -> str:
    return json.dumps({"event": event, "time": BEGAN + second, **fields}) + "\n"
