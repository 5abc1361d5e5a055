"""Profile of SGR by operator, as a Markdown table: `python -m benchmarks.operators evaluation`.

Uses one thread and CPU time, which other load on the machine hardly changes.
"""

import sys
import time
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.training_step import gradients
from benchmarks.workload import OURS, encode, sgraf, without_dropout
from tangka_match.retrieval import score_matrix

ROWS = 12


def main(what: str) -> None:
    """Profile one evaluation of 64 images x 256 captions, or one training step at batch size 48."""
    torch.set_num_threads(1)
    model = sgraf("sgr")
    job = (
        partial(score_matrix, model, *encode(model, 64, 256))
        if what == "evaluation"
        else partial(gradients, without_dropout(model), OURS, 48)
    )
    job()
    start = time.process_time()
    job()
    seconds = time.process_time() - start
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        job()
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    print(f"{what}: {seconds:.2f} s on one core\n\n| operator | share of the time | calls |\n|---|---|---|")
    for event in events[:ROWS]:
        print(f"| `{event.key}` | {100 * event.self_cpu_time_total / total:.1f} % | {event.count} |")


if __name__ == "__main__":
    main(sys.argv[1])
