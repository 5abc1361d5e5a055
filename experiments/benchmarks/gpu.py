"""Benchmarks of SGRAF and VSE on a GPU.

Run from the root of the repository: PYTHONPATH=src:experiments python -m benchmarks.gpu
`--device cpu --tiny` runs the same code in a minute, as a test without a GPU.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from benchmarks.rows import Row, print_rows
from benchmarks.timing import ratios, take_turns
from benchmarks.workload import (
    COCO_LENGTHS,
    draw_captions,
    draw_regions,
    sgraf,
    slow_matrix,
    slow_similarity,
    triplet_loss,
    vse,
    without_dropout,
)
from tangka_match.models import SGRAF, VSE
from tangka_match.retrieval import score_matrix
from tangka_match.types import Encoded

LOOP_CAPTIONS = 100
"""Captions for timing the loop, whose cost is linear in the number of captions."""


def main() -> None:
    """Run the benchmarks and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to test the script")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_float32_matmul_precision("high")  # TF32 for products in float32
    batch, images, captions = (8, 20, 60) if options.tiny else (128, 5000, 25000)
    rows = [
        *step_rows(options.device, batch, options.rounds),
        *(utilisation_rows(options.device, batch) if options.device != "cpu" else []),
        *gallery_rows(options.device, images, captions),
    ]
    print_rows(rows, Console())


def step_rows(device: str, batch: int, rounds: int) -> list[Row]:
    """Compare the training step of SGR with the loop, both in bfloat16."""
    model = without_dropout(sgraf("sgr")).to(device)
    data = [x.to(device) for x in (*draw_regions(batch), *draw_captions(batch))]
    steps = {
        name: partial(train_step, model, similarity, data)
        for name, similarity in (("loop", slow_similarity), ("ours", SGRAF.similarity))
    }
    timings = take_turns(steps, rounds)
    return [
        Row(f"SGR step, batch {batch}, {name}", "ms", [1000 * s for s in timing.seconds])
        for name, timing in timings.items()
    ] + [Row("SGR step / loop", "x", ratios(timings["loop"], timings["ours"]), 20.0)]


def utilisation_rows(device: str, batch: int) -> list[Row]:
    """Measure the share of time in which kernels run, with regions resident on the device."""
    regions, region_mask = (x.to(device) for x in draw_regions(2 * batch))
    token_ids, token_mask = (x.to(device) for x in draw_captions(2 * batch))
    rows = []
    for name, model in (("VSE", vse().train()), ("SGR", sgraf("sgr").train())):
        model.to(device)

        def steps(model: VSE | SGRAF = model) -> None:
            for _ in range(5):
                chosen = torch.randperm(2 * batch, device=device)[:batch]
                data = [x[chosen] for x in (regions, region_mask, token_ids, token_mask)]
                train_step(model, type(model).similarity, data)

        rows.append(Row(f"{name} training, time in kernels", "%", [100 * busy_share(steps)], 90.0))
    return rows


def gallery_rows(device: str, images: int, captions: int) -> list[Row]:
    """Compare a whole evaluation in bfloat16, with caption lengths as in COCO, with the loop."""
    model = sgraf("sgr").to(device)
    gallery, texts = _corpus(model, images, captions, device)
    part = texts[:LOOP_CAPTIONS]
    timings = take_turns(
        {
            "loop": partial(slow_matrix, model, gallery, part),
            "ours": partial(
                score_matrix, model, gallery, texts, caption_chunk=256, max_elements=2**29, dtype=torch.bfloat16
            ),
        },
        rounds=1,
    )
    name = f"SGR evaluation, {images:,} x {captions:,}"
    work = captions / len(part)
    return [
        Row(name, "s", timings["ours"].seconds, 60.0, at_least=False, note="the target is for an H200"),
        Row(
            f"{name} / loop",
            "x",
            ratios(timings["loop"], timings["ours"], work),
            20.0,
            note=f"loop: {len(part)} captions, TF32",
        ),
    ]


def train_step(model: VSE | SGRAF, similarity: Callable[..., torch.Tensor], data: list[torch.Tensor]) -> None:
    """Run forward and backward under bfloat16 autocast."""
    regions, region_mask, token_ids, token_mask = data
    with torch.autocast(regions.device.type, torch.bfloat16):
        images, texts = model.encode_images(regions, region_mask), model.encode_texts(token_ids, token_mask)
        scores = similarity(model, images, texts)
    model.zero_grad(set_to_none=True)
    triplet_loss(scores).backward()


def busy_share(steps: Callable[[], None]) -> float:
    """Return the time in kernels as a share of the elapsed time."""
    steps()
    torch.cuda.synchronize()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        start.record()
        steps()
        end.record()
        torch.cuda.synchronize()
    kernels = sum(event.self_device_time_total for event in profiler.key_averages()) / 1000  # microseconds
    return kernels / start.elapsed_time(end)


@torch.no_grad()
def _corpus(model: SGRAF, images: int, captions: int, device: str) -> tuple[Encoded, Encoded]:
    def on_device(part: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return part[0].to(device), part[1].to(device)

    gallery = [
        model.encode_images(*on_device(draw_regions(len(x), seed=int(x[0])))) for x in torch.arange(images).split(100)
    ]
    token_ids, token_mask = on_device(draw_captions(captions, COCO_LENGTHS))
    pieces = zip(token_ids.split(500), token_mask.split(500), strict=True)
    texts = [model.encode_texts(ids, mask) for ids, mask in pieces]
    return Encoded.concatenate(gallery), Encoded.concatenate(texts)


if __name__ == "__main__":
    main()
