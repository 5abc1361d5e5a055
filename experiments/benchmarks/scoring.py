"""Score matrix of SGRAF compared with the published loop: time and scores."""

from functools import partial

import torch
from torch import Tensor

from benchmarks.rows import Row
from benchmarks.timing import Timing, ratios, take_turns
from benchmarks.workload import Products, encode, fast_matrix, sgraf, slow_matrix
from tangka_match.ops import computes_bfloat16
from tangka_match.types import Encoded

TARGETS = {"sgr": {"float32": 4.0, "bfloat16": 8.0}, "saf": {"float32": 3.0, "bfloat16": 6.0}}
SLICE = 100
"""Captions for timing the loop, whose cost is linear in the number of captions."""

WHOLE = 1000
"""Largest number of captions that our implementation scores in full."""


def scoring_rows(reasoning: str, images: int, captions: int, rounds: int) -> list[Row]:
    """Measure rates, speed-ups, the share of the matrix-product limit, and the difference of the scores.

    Above ``WHOLE`` captions, our implementation scores a tenth of them. There are no rows of bfloat16 on a CPU that
    emulates it.
    """
    model = sgraf(reasoning)
    gallery, texts = encode(model, images, captions)
    name = f"{reasoning.upper()}, {images:,} x {captions:,}"
    if captions > WHOLE:
        texts, captions = texts[: captions // 10], captions // 10
    part = texts[: min(SLICE, captions)]
    competitors = {
        "loop": partial(slow_matrix, model, gallery, part),
        "float32": partial(fast_matrix, model, gallery, texts),
        "bfloat16": partial(fast_matrix, model, gallery, texts, torch.bfloat16),
        "products": _products,
    }
    if not computes_bfloat16(torch.device("cpu")):
        del competitors["bfloat16"]
    timings = take_turns(competitors, rounds, warm_up=False)
    work, pairs = captions / len(part), images * captions
    needed = images * _products_needed(texts, reasoning)
    loop_rate = images * len(part) / timings["loop"].median
    return [
        Row(f"{name}, loop", "pairs/s", _rate(images * len(part), timings["loop"]), note=f"{len(part)} captions"),
        *(
            row
            for kind, target in TARGETS[reasoning].items()
            if kind in timings
            for row in (
                Row(f"{name}, {kind}", "pairs/s", _rate(pairs, timings[kind])),
                Row(f"{name}, {kind} / loop", "x", ratios(timings["loop"], timings[kind], work), target),
            )
        ),
        Row(
            f"{name}, share of the product limit",
            "%",
            [
                100 * (needed / float32) / (_PRODUCT_WORK / products)
                for float32, products in zip(timings["float32"].seconds, timings["products"].seconds, strict=True)
            ],
            75.0 if reasoning == "sgr" else None,
            note=f"at the limit: {pairs / (needed / (_PRODUCT_WORK / timings['products'].median)) / loop_rate:.1f}x",
        ),
        _difference(f"{name}, float32 - loop", fast_matrix(model, gallery, part), slow_matrix(model, gallery, part)),
    ]


_PRODUCT_SHAPE = (2048, 1024, 256)
_PRODUCT_WORK = 40 * 2048 * 1024 * 256


def _products() -> None:
    """Run the largest matrix product of SGRAF repeatedly."""
    rows, inner, columns = _PRODUCT_SHAPE
    left, right = torch.ones(rows, inner), torch.ones(columns, inner)
    result = torch.empty(rows, columns)
    for _ in range(40):
        torch.mm(left, right.T, out=result)


def _products_needed(texts: Encoded, reasoning: str) -> float:
    return float(Products().of_pair(texts.mask.sum(dim=1).double(), reasoning).sum())


def _rate(pairs: int, timing: Timing) -> list[float]:
    return [pairs / seconds for seconds in timing.seconds]


def _difference(name: str, found: Tensor, expected: Tensor) -> Row:
    largest = float((found - expected).abs().max())
    return Row(name, "", [largest], 2e-6, at_least=False, note="largest difference of scores")
