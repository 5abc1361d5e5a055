"""Scores and gradients of SGR and SAF with `training.compile`, against those without, batch by batch.

    PYTHONPATH=src python experiments/2026-11-29_gpus-and-clusters/compiled.py aot_eager sgr

Small sizes on a CPU: eight pairs a batch, captions of 3 to 9 words.
"""

import sys
import time

import torch
from torch import Tensor
from torch._dynamo.utils import counters

from tangka_match.models import SGRAF

METHODS = ("encode_images", "encode_texts", "similarity")


def main(backend: str, reasoning: str) -> None:
    """Print the largest differences, seconds, and compiled graphs after each batch."""
    eager, compiled = build(reasoning), build(reasoning)
    for name in METHODS:  # as `compile_matcher` does, which has no choice of the backend
        setattr(compiled, name, torch.compile(getattr(compiled, name), backend=backend))
    for seed in range(3):
        expected, expected_gradients = step(eager, seed)
        begin = time.perf_counter()
        scores, gradients = step(compiled, seed)
        seconds = time.perf_counter() - begin
        worst = max((a - b).abs().max().item() for a, b in zip(gradients, expected_gradients, strict=True))
        print(
            f"batch {seed}: scores {(scores - expected).abs().max().item():.0e}, gradients {worst:.0e}, "
            f"{seconds:.0f} s, {counters['stats']['unique_graphs']} graphs",
            flush=True,
        )


def build(reasoning: str) -> SGRAF:
    """Build a small SGRAF without dropout, always with the same weights."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 30, "feature_dim": 6, "num_regions": 4, "embed_dim": 8, "word_dim": 5, "sim_dim": 6}
    return SGRAF(**sizes, reasoning=reasoning, dropout=0.0).train()


def step(model: SGRAF, seed: int) -> tuple[Tensor, list[Tensor]]:
    """Return the scores of a batch and the gradients of their weighted sum."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 10, (8,), generator=generator)
    lengths[0] = 9
    mask = torch.arange(9) < lengths[:, None]
    regions, token_ids = torch.rand(8, 4, 6, generator=generator), torch.randint(4, 30, mask.shape, generator=generator)
    model.zero_grad()
    images = model.encode_images(regions, torch.ones(8, 4, dtype=torch.bool))
    scores = model.similarity(images, model.encode_texts(token_ids, mask))
    (scores * torch.randn(scores.shape, generator=generator)).sum().backward()
    return scores.detach(), [parameter.grad for parameter in model.parameters()]


if __name__ == "__main__":
    main(*sys.argv[1:])
