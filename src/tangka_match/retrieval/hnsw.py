"""Approximate search with FAISS: a hierarchical navigable small-world graph (HNSW), for millions of vectors.

The graph is kept beside the index, and extended when images are added.
"""

import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from rich.progress import Progress

from tangka_match.errors import ConfigError
from tangka_match.files import written_completely
from tangka_match.retrieval.index import Index
from tangka_match.retrieval.nearest import Hits

BLOCK_ROWS = 16_384
"""Vectors inserted between two updates of the progress bar."""


class HNSWSearch:
    """Search of a graph over the vectors of an index (Malkov and Yashunin, arXiv 1603.09320).

    Args:
        index: Index of a model with one vector per image.
        links: Links per vector and layer; more = better recall, more memory (8 bytes each).
        construction: Candidates examined per insertion; more = better recall, slower build.
        effort: Candidates examined per query; more = better recall, slower search.

    Raises:
        ConfigError: If faiss is not installed, a setting is out of range, or the stored graph cannot be read.
    """

    is_exact = False

    def __init__(self, index: Index, *, links: int = 32, construction: int = 200, effort: int = 128) -> None:
        for name, value, least in (("links", links, 2), ("construction", construction, 1), ("effort", effort, 1)):
            if value < least:
                raise ConfigError(f"index.{name}={value} must be >= {least}")
        self._faiss = _library()
        self._effort = effort
        path = index.folder / f"hnsw-{index.manifest.generation}-{links}-{construction}.faiss"
        with FileLock(index.folder / ".lock"):
            for other in index.folder.glob("hnsw-*.faiss"):
                if other != path:
                    other.unlink(missing_ok=True)
            self._graph: Any = self._read(path) if path.exists() else None
            if self._graph is None or self._graph.ntotal > len(index):
                self._graph = self._faiss.IndexHNSWFlat(index.vectors.shape[1], links, self._faiss.METRIC_INNER_PRODUCT)
                self._graph.hnsw.efConstruction = construction
            if self._graph.ntotal < len(index):
                self._extend(index.vectors)
                with written_completely(path) as partial:
                    self._faiss.write_index(self._graph, str(partial))

    def search(self, queries: npt.NDArray[np.float32], top: int) -> Hits:
        """Find about the ``top`` best items of each query, (Q, D)."""
        parameters = self._faiss.SearchParametersHNSW(efSearch=max(self._effort, top))
        wanted = min(top, self._graph.ntotal)
        scores, rows = self._graph.search(np.ascontiguousarray(queries, np.float32), wanted, params=parameters)
        return Hits(rows, scores)

    def _extend(self, vectors: npt.NDArray[np.float32]) -> None:
        with Progress(transient=True) as bar:
            task = bar.add_task("building the HNSW graph", total=len(vectors), completed=self._graph.ntotal)
            for start in range(self._graph.ntotal, len(vectors), BLOCK_ROWS):
                self._graph.add(np.ascontiguousarray(vectors[start : start + BLOCK_ROWS]))
                bar.update(task, completed=self._graph.ntotal)

    def _read(self, path: Path) -> Any:
        try:
            return self._faiss.read_index(str(path))
        except RuntimeError as error:
            raise ConfigError(f"{path}: not a graph that this faiss can read; remove the file ({error})") from error


def _library() -> Any:
    logging.getLogger("faiss").setLevel(logging.WARNING)  # it reports which instruction sets it tried
    try:
        return import_module("faiss")
    except ModuleNotFoundError as error:
        raise ConfigError('index=hnsw needs FAISS: pip install "tangka-match[hnsw]"') from error
