"""Floating-point operations of a training step in each process, as a share of a single process with the whole batch.

    PYTHONPATH=src:tests python experiments/2026-11-29_gpus-and-clusters/flops.py

Counted by torch's FLOP counter on the meta device: 128 pairs, 36 regions, captions of 12 tokens, published sizes,
forward and backward. The gathered parts of other processes are stand-ins with a gradient. "whole" scores all images
in each process, as before; "rows" scores its own images against all captions.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from helpers.waits import on_meta
from tangka_match.models import SCAN, SGRAF, VSE, CrossModalTransformer
from tangka_match.types import Encoded

PAIRS, REGIONS, TOKENS, FEATURES, VOCABULARY = 128, 36, 12, 2048, 1562
MODELS = {
    "cross-modal transformer": CrossModalTransformer,
    "SGR": partial(SGRAF, reasoning="sgr"),
    "SAF": partial(SGRAF, reasoning="saf"),
    "SCAN t2i": partial(SCAN, direction="t2i", smooth=9.0),
    "VSE": VSE,
}


def encode_images(model: nn.Module, count: int) -> Encoded:
    """Encode images."""
    regions = torch.empty(count, REGIONS, FEATURES, device="meta")
    return model.encode_images(regions, torch.ones(count, REGIONS, dtype=torch.bool, device="meta"))


def encode_texts(model: nn.Module, count: int) -> Encoded:
    """Encode captions."""
    ids = torch.zeros(count, TOKENS, dtype=torch.int64, device="meta")
    known = ((TOKENS,) * count,) if getattr(model, "reads_lengths", False) else ()
    return model.encode_texts(ids, torch.ones_like(ids, dtype=torch.bool), *known)


def gathered(own: Encoded, processes: int) -> Encoded:
    """Join the encodings of a process with stand-ins for those of the others."""

    def stand_in(part: Tensor | None) -> Tensor | None:
        return None if part is None else torch.empty_like(part).requires_grad_(part.is_floating_point())

    others = Encoded(stand_in(own.pooled), stand_in(own.tokens), stand_in(own.mask), own.lengths)
    return Encoded.concatenate([own, *[others] * (processes - 1)])


def operations(model: nn.Module, processes: int, *, rows: bool) -> int:
    """Count the operations of a step in one process."""
    share = PAIRS // processes
    with FlopCounterMode(display=False) as counter:
        images, texts = encode_images(model, share), encode_texts(model, share)
        scored = images if rows else gathered(images, processes)
        model.similarity(scored, gathered(texts, processes)).sum().backward()
    return counter.get_total_flops()


def main() -> None:
    """Print one line per model and number of processes."""
    for name, build in MODELS.items():
        with torch.device("meta"):
            model = build(vocab_size=VOCABULARY, feature_dim=FEATURES).train()
        alone = operations(model, 1, rows=True)
        for processes in (2, 8):
            whole, rows = (operations(model, processes, rows=rows) / alone for rows in (False, True))
            print(f"{name:24} {processes} processes: whole {whole:.3f}, rows {rows:.3f} of {alone / 1e12:.2f} TFLOP")


if __name__ == "__main__":
    with on_meta():
        main()
