"""Peak memory, each in a process of its own: `python -m benchmarks.memory evaluation`."""

import re
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.rows import Row
from benchmarks.training_step import gradients
from benchmarks.workload import OURS, encode, sgraf
from tangka_match.retrieval import score_matrix
from tangka_match.training.allocator import keep_freed_memory

NAMES = {
    "evaluation": ("peak memory, SGR 1,000 x 5,000", 3.0),
    "training": ("peak memory, SGR step at batch 128", 6.0),
}


def memory_rows() -> list[Row]:
    """GiB resident at most, interpreter and libraries included."""
    rows = []
    for what, (name, limit) in NAMES.items():
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", what], check=True, capture_output=True, text=True
        )
        rows.append(Row(name, "GiB", [float(done.stdout.split()[-1])], limit, at_least=False))
    return rows


def _evaluation() -> None:
    """All 5,000 captions encoded; every tenth is scored, which spreads over all lengths and all images."""
    model = sgraf("sgr")
    images, texts = encode(model, 1000, 5000)
    score_matrix(model, images, texts[torch.arange(0, len(texts), 10)])


def _training() -> None:
    """As the runner does it: freed memory stays with the process."""
    keep_freed_memory()
    model = sgraf("sgr")
    for _ in range(2):
        gradients(model, OURS, 128)


if __name__ == "__main__":
    {"evaluation": _evaluation, "training": _training}[sys.argv[1]]()
    # Not ru_maxrss: a child starts with the peak of the process that started it.
    print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 2**20)
