"""Latency of search in an index, without the encoding of the query: exact, and by an HNSW graph.

The vectors are perturbed copies of those of an index (``--index``, of a trained model), because the graph's recall on
random vectors says nothing about real ones; without an index, random unit vectors are searched exactly only.
"""

import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.rows import Row
from benchmarks.timing import ratios, take_turns
from tangka_match import Index
from tangka_match.retrieval.hnsw import HNSWSearch
from tangka_match.retrieval.index_files import Manifest, append_rows
from tangka_match.retrieval.nearest import ExactSearch

DIM, TOP = 512, 10
SIZES = {3_636: (5.0, None), 100_000: (25.0, None), 1_000_000: (None, 1.5)}
"""Images, the longest acceptable latency in milliseconds, and as a multiple of one product of the same array."""
NOISE = 0.5
"""Norm of the noise that is added to a unit vector."""
QUERIES = 200
BLOCK = 50_000


def search_rows(rounds: int, source: Path | None, largest: int, kept: Path | None) -> list[Row]:
    """Measure exact search at three sizes and, with a source, HNSW at the largest one.

    Args:
        rounds: Queries per measurement.
        source: Folder of an index whose vectors are copied.
        largest: Largest number of images, to leave out the sizes above it.
        kept: Folder for the vectors and the graph, which take long to make: a later call reads them from it. ``None``
            removes them at the end.
    """
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if kept is None else kept
        for size in (size for size in SIZES if size <= largest):
            index = _open_or_write(folder / f"{size}-{'random' if source is None else 'copies'}", size, source)
            rows += _exact_rows(index.vectors, size, rounds)
        if source is not None:
            rows += _graph_rows(index, rounds)
    return rows


def _open_or_write(folder: Path, size: int, source: Path | None) -> Index:
    if folder.exists():
        index = Index.open(folder)
        if len(index) == size:
            return index
        shutil.rmtree(folder)
    return _write(folder, size, source)


def _exact_rows(vectors: npt.NDArray[np.float32], size: int, rounds: int) -> list[Row]:
    queries = _queries(vectors)
    engine, plain = ExactSearch(vectors), np.asarray(vectors)
    timings = take_turns(
        {"search": partial(engine.search, queries[:1], TOP), "product": lambda: plain @ queries[0]}, rounds
    )
    name = f"exact search, {size:,} images"
    longest, multiple = SIZES[size]
    waits = [1000 * second for second in timings["search"].seconds]
    times = ratios(timings["search"], timings["product"])
    return [
        Row(name, "ms", waits, longest, at_least=False),
        Row(f"{name}, over one product", "x", times, multiple, at_least=False),
    ]


def _graph_rows(index: Index, rounds: int) -> list[Row]:
    queries = _queries(index.vectors)
    engine = HNSWSearch(index)
    found, right = engine.search(queries, TOP).rows, index.search(queries, TOP).rows
    recall = [len({*a} & {*b}) / TOP for a, b in zip(found.tolist(), right.tolist(), strict=True)]
    turns = {str(place): partial(engine.search, queries[place : place + 1], TOP) for place in range(rounds)}
    waits = [1000 * timing.median for timing in take_turns(turns, 1).values()]
    name = f"HNSW, {len(index):,} images"
    return [
        Row(name, "ms", waits, 5.0, at_least=False),
        Row(
            f"{name}, recall@{TOP}", "", [float(np.mean(recall))], 0.95, note=f"{QUERIES} queries against exact search"
        ),
    ]


def _write(folder: Path, size: int, source: Path | None) -> Index:
    """Write an index of ``size`` vectors, block by block."""
    draw = np.random.default_rng(0)
    originals = None if source is None else Index.open(source).vectors
    folder.mkdir(parents=True)
    manifest = Manifest(encoder="benchmark")
    for start in range(0, size, BLOCK):
        count = min(BLOCK, size - start)
        vectors = draw.normal(size=(count, DIM)).astype(np.float32) / np.float32(DIM**0.5)
        if originals is not None:
            vectors = originals[draw.integers(len(originals), size=count)] + NOISE * vectors
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        manifest = append_rows(folder, manifest, {"pooled": vectors}, [str(start + row) for row in range(count)])
    return Index.open(folder)


def _queries(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Draw queries near vectors of the index."""
    draw = np.random.default_rng(1)
    near = vectors[np.sort(draw.integers(len(vectors), size=QUERIES))]
    moved = near + NOISE * draw.normal(size=near.shape).astype(np.float32) / np.float32(DIM**0.5)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)
