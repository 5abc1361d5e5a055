"""Training step of SGRAF, forward and backward, compared with the published loop."""

import copy
from functools import partial

import torch
from torch import Tensor

from benchmarks.rows import Row
from benchmarks.timing import ratios, take_turns
from benchmarks.workload import OURS, PUBLISHED, Way, draw_captions, draw_regions, sgraf, triplet_loss, without_dropout
from tangka_match.models import SGRAF
from tangka_match.ops import computes_bfloat16
from tangka_match.training.process_state import keep_freed_memory

SMALL = 32
"""Batch size of the gradient comparison."""


def training_rows(reasoning: str, batch: int, rounds: int) -> list[Row]:
    """Measure speed-ups over the loop and differences of the gradients, with the memory settings of the runner."""
    keep_freed_memory()
    model = without_dropout(sgraf(reasoning))
    steps = {
        "loop": partial(gradients, model, PUBLISHED, batch),
        "float32": partial(gradients, model, OURS, batch),
        "bfloat16": partial(gradients, model, OURS, batch, half=True),
    }
    if not computes_bfloat16(torch.device("cpu")):
        del steps["bfloat16"]
    timings = take_turns(steps, rounds, warm_up=False)
    name = f"{reasoning.upper()} step, batch {batch}"
    goals = {"float32": 2.5, "bfloat16": 4.0} if reasoning == "sgr" else {}
    return [
        *(Row(f"{name}, {key}", "s", timing.seconds) for key, timing in timings.items()),
        *(
            Row(f"{name}, {kind} / loop", "x", ratios(timings["loop"], timings[kind]), goals.get(kind))
            for kind in ("float32", "bfloat16")
            if kind in timings
        ),
        *_gradient_rows(model, f"{reasoning.upper()} gradients, batch {SMALL}"),
    ]


def _gradient_rows(model: SGRAF, name: str) -> list[Row]:
    """Compare gradients in float64, where both implementations must agree, and in float32, where ReLUs may differ."""
    ways = {"loop": PUBLISHED, "ours": OURS}
    narrow = {key: gradients(model, way, SMALL) for key, way in ways.items()}
    wide = {key: gradients(copy.deepcopy(model).double(), way, SMALL) for key, way in ways.items()}
    note = "largest error, relative to each tensor's largest entry"
    return [
        Row(f"{name}, ours - loop, float64", "", [largest_error(wide["ours"], wide["loop"])], 2e-4, False, note),
        *(
            Row(f"{name}, {key}, float32 - float64", "", [largest_error(narrow[key], wide["loop"])], note=note)
            for key in ways
        ),
    ]


def gradients(model: SGRAF, way: Way, batch: int, half: bool = False, seed: int = 0) -> list[Tensor]:
    """Compute the gradients of a triplet loss for all parameters."""
    with torch.autocast(next(model.parameters()).device.type, torch.bfloat16, enabled=half):
        regions, region_mask = draw_regions(batch, seed=seed)
        images = model.encode_images(regions.to(next(model.parameters()).dtype), region_mask)
        texts = way.encode_texts(model, *draw_captions(batch, seed=seed))
        scores = way.similarity(model, images, texts)
    return list(torch.autograd.grad(triplet_loss(scores), list(model.parameters())))


def largest_error(found: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest error relative to each tensor's largest entry, ignoring tensors with only rounding errors."""
    everywhere = max(float(x.abs().max()) for x in expected)
    errors = [
        float((a - b).abs().max() / b.abs().max())
        for a, b in zip(found, expected, strict=True)
        if b.abs().max() > 1e-5 * everywhere
    ]
    return max(errors)
