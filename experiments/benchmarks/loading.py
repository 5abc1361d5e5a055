"""Cost of reading features in a VSE training step, also from a file larger than memory."""

import os
import re
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from benchmarks.rows import Row
from benchmarks.timing import take_turns
from benchmarks.workload import FEATURES, REGIONS, triplet_loss, vse
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.data.features import SAMPLED_ROWS
from tangka_match.types import RegionTextBatch

BATCH, BATCHES = 128, 10
MORE = 3
"""Rounds of batches over which memory growth is measured."""


def loading_rows(rounds: int) -> list[Row]:
    """Measure the share of a step, the rate for a sparse file larger than memory, and the memory growth."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small", Path(folder) / "large"
        images_in_memory = 1 + _memory() // (REGIONS * FEATURES * 2)
        fresh = (1 + rounds + MORE) * BATCHES  # one more round for warm-up
        loaders = {
            "small": write_set(small, BATCH * BATCHES, BATCHES),
            "large": write_set(large, images_in_memory, fresh),
        }
        model, batch = vse().train(), next(iter(loaders["small"].train_dataloader()))
        streams = {name: read_on(data) for name, data in loaders.items()}
        timings = take_turns(
            {name: partial(read_batches, stream) for name, stream in streams.items()}
            | {"step": partial(step, model, batch)},
            rounds,
        )
        before = _resident()
        for _ in range(MORE):
            read_batches(streams["large"])
        grown = {kind: (size - before[kind]) / 2**20 for kind, size in _resident().items()}
    return [
        Row(
            f"reading's share of a VSE step, batch {BATCH}",
            "%",
            [
                100 * read / BATCHES / (read / BATCHES + training)
                for read, training in zip(timings["small"].seconds, timings["step"].seconds, strict=True)
            ],
            3.0,
            at_least=False,
        ),
        Row("reading a batch, 189 MB of features", "ms", _per_batch(timings["small"].seconds)),
        Row(
            "reading a batch, more features than memory",
            "ms",
            _per_batch(timings["large"].seconds),
            note="from disk: rows not read before",
        ),
        Row(f"memory that {MORE * BATCHES} batches more take", "MiB", [grown["RssAnon"]], 64.0, at_least=False),
        Row(
            "pages of the file that they leave in memory",
            "MiB",
            [grown["RssFile"]],
            note="reclaimed by the system when memory is needed",
        ),
    ]


def write_set(folder: Path, images: int, batches: int) -> RegionTextDataModule:
    """Write a data set whose feature file is sparse except for the rows to be read, and drop it from the page cache."""
    folder.mkdir()
    words = [f"{a}{b}" for a in "山水花鸟人马佛云日月" for b in "红黄蓝白黑绿大小高低"]
    draw = np.random.default_rng(0)
    for split, number in (("train", images), ("dev", 2)):
        lines = ["".join(draw.choice(words, 5)) for _ in range(number)]
        (folder / f"{split}_caps.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        shape = (number, REGIONS, FEATURES)
        np.lib.format.open_memmap(folder / f"{split}_ims.npy", mode="w+", dtype=np.float16, shape=shape)[:2, :, 0] = 1
    array = np.lib.format.open_memmap(folder / "train_ims.npy", mode="r+")
    array[np.unique(np.linspace(0, images - 1, SAMPLED_ROWS).astype(int)), :, 0] = 1
    array[1] = 2  # differs from its neighbours, so that the search for repeated images stops here
    for rows in list(islice(open_set(folder).batch_sampler, batches)):
        array[np.array(rows), :, 0] = 1
    array.flush()
    del array  # mapped pages would stay in the cache
    with (folder / "train_ims.npy").open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return open_set(folder)


def open_set(folder: Path) -> RegionTextDataModule:
    """Open the data set for reading."""
    data = RegionTextDataModule(str(folder), batch_size=BATCH)
    data.setup()
    return data


def read_on(data: RegionTextDataModule) -> Iterator[RegionTextBatch]:
    """Yield batches, epoch after epoch."""
    loader = data.train_dataloader()
    while True:
        yield from loader


def read_batches(stream: Iterator[RegionTextBatch]) -> None:
    """Read the next ``BATCHES`` batches."""
    for _ in islice(stream, BATCHES):
        pass


def step(model: nn.Module, batch: RegionTextBatch) -> Tensor:
    """Run one training step, forward and backward."""
    images = model.encode_images(batch.regions.float(), batch.region_mask)
    texts = model.encode_texts(batch.token_ids, batch.token_mask)
    loss = triplet_loss(model.similarity(images, texts))
    model.zero_grad()
    loss.backward()
    return loss


def _per_batch(seconds: list[float]) -> list[float]:
    return [1000 * s / BATCHES for s in seconds]


def _memory() -> int:
    """Return the memory of this machine in bytes."""
    return 1024 * int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])


def _resident() -> dict[str, int]:
    """Return the resident bytes of this process: anonymous (``RssAnon``) and of mapped files (``RssFile``)."""
    found = re.findall(r"(RssAnon|RssFile):\s+(\d+)", Path("/proc/self/status").read_text())
    return {kind: 1024 * int(size) for kind, size in found}
