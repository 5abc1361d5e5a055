"""Peak memory, measured in separate processes: `python -m benchmarks.memory evaluation`."""

import re
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.rows import Row
from benchmarks.training_step import gradients
from benchmarks.workload import OURS, encode, sgraf, without_dropout
from tangka_match.ops import bound_primitive_caches
from tangka_match.retrieval import score_matrix
from tangka_match.training.process_state import keep_freed_memory

STEPS = 6

NAMES = {
    "evaluation": ("peak memory, SGR 1,000 x 5,000", 3.0, "all captions encoded, every tenth scored"),
    "training": ("peak memory, SGR step at batch 128", 6.0, f"{STEPS} different batches in bfloat16"),
}


def memory_rows() -> list[Row]:
    """Measure the peak resident memory in GiB, including interpreter and libraries."""
    rows = []
    for what, (name, limit, note) in NAMES.items():
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", what], check=True, capture_output=True, text=True
        )
        rows.append(Row(name, "GiB", [float(done.stdout.split()[-1])], limit, at_least=False, note=note))
    return rows


def _evaluation() -> None:
    """Encode all 5,000 captions, and score every tenth, which covers all lengths and all images."""
    model = sgraf("sgr")
    images, texts = encode(model, 1000, 5000)
    score_matrix(model, images, texts[torch.arange(0, len(texts), 10)])


def _training() -> None:
    """Train with the memory settings of the runner; caption lengths change from step to step."""
    keep_freed_memory()
    bound_primitive_caches()
    model = without_dropout(sgraf("sgr"))
    for seed in range(STEPS):
        gradients(model, OURS, 128, half=True, seed=seed)


if __name__ == "__main__":
    {"evaluation": _evaluation, "training": _training}[sys.argv[1]]()
    # Not ru_maxrss: a child process inherits the peak of its parent.
    print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 2**20)
