"""Scaling of the cost with batch size, captions, gallery size and words: seconds, and fitted power-law exponents."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.rows import Row
from benchmarks.timing import take_turns
from benchmarks.training_step import gradients
from benchmarks.workload import OURS, draw_captions, encode, sgraf, without_dropout
from tangka_match.models import SGRAF
from tangka_match.retrieval import score_matrix
from tangka_match.types import Encoded

SIZES = {"batch": [16, 32, 64], "captions": [64, 128, 256], "gallery": [64, 128, 256], "words": [4, 8, 16, 32]}


def growth_rows(plot: Path, rounds: int) -> list[Row]:
    """Fit the exponents, and save the plot of the timings."""
    model, learning = sgraf("sgr"), without_dropout(sgraf("sgr"))
    images, texts = encode(model, max(SIZES["gallery"]), max(SIZES["captions"]))
    jobs: dict[str, Callable[[int], object]] = {
        "batch": lambda n: gradients(learning, OURS, n),
        "captions": lambda n: score_matrix(model, images[:32], texts[:n]),
        "gallery": lambda n: score_matrix(model, images[:n], texts[:32]),
        "words": lambda n: score_matrix(model, images[:32], _captions(model, n)),
    }
    rows, figure = [], Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="batch, captions, images or words", ylabel="seconds", xscale="log", yscale="log")
    for name, job in jobs.items():
        sizes = SIZES[name]
        timings = take_turns({str(n): partial(job, n) for n in sizes}, rounds)
        seconds = np.array([timing.seconds for timing in timings.values()])
        exponents = [float(np.polyfit(np.log(sizes), np.log(column), 1)[0]) for column in seconds.T]
        row = Row(f"exponent of {name}, SGR", "", exponents, note="training step" if name == "batch" else "evaluation")
        axes.plot(sizes, np.median(seconds, axis=1), "o-", label=f"{name}: exponent {row.median:.2f}")
        rows.append(row)
    axes.legend()
    plot.parent.mkdir(exist_ok=True)
    figure.savefig(plot, dpi=120)
    return rows


@torch.no_grad()
def _captions(model: SGRAF, words: int) -> Encoded:
    return model.encode_texts(*draw_captions(32, {words: 1}))
