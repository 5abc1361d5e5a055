"""Search in Milvus, a distributed vector database, through pymilvus; a file as ``uri`` uses Milvus Lite."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from tangka_match.errors import ConfigError
from tangka_match.retrieval.index import Index
from tangka_match.retrieval.nearest import Hits

BLOCK_ROWS = 1024
"""Vectors sent per request."""


class MilvusSearch:
    """Search in a Milvus collection that holds the vectors of an index.

    The collection is named after the generation of the index, so that vectors of another model or data set are never
    searched. Missing vectors are sent at the start; an interrupted transfer goes on where it stopped.

    Args:
        index: Index of a model with one vector per image.
        uri: Address, such as ``http://host:19530``, or a file ending in ``.db`` for Milvus Lite.
        token: ``user:password`` or an API key; ``None`` if the server asks for none.
        timeout: Time after which a request fails, in seconds.

    Raises:
        ConfigError: If pymilvus is not installed, the server does not answer, or it refuses a request.
    """

    is_exact = False

    def __init__(self, index: Index, uri: str, *, token: str | None = None, timeout: float = 10.0) -> None:
        self._uri = uri
        self._timeout = timeout
        self._name = f"tangka_match_{index.manifest.generation}"
        client = _library().MilvusClient
        with self._explained():
            self._client = client(uri=uri, token=token or "", timeout=timeout)
            if not self._client.has_collection(self._name, timeout=timeout):
                self._client.create_collection(
                    self._name,
                    dimension=index.vectors.shape[1],
                    metric_type="IP",
                    auto_id=False,
                    consistency_level="Strong",
                    timeout=timeout,
                )
            self._send(index.vectors)

    def search(self, queries: npt.NDArray[np.float32], top: int) -> Hits:
        """Find the ``top`` best items of each query, (Q, D).

        Raises:
            ConfigError: If the server does not answer.
        """
        with self._explained():
            found = self._client.search(
                self._name, data=list(np.asarray(queries, np.float32)), limit=top, timeout=self._timeout
            )
        rows = np.array([[hit["id"] for hit in answers] for answers in found], dtype=np.int64)
        scores = np.array([[hit["distance"] for hit in answers] for answers in found], dtype=np.float32)
        return Hits(rows, scores)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _send(self, vectors: npt.NDArray[np.float32]) -> None:
        sent = self._count()
        if sent >= len(vectors):
            return
        with Progress(transient=True) as bar:
            task = bar.add_task(f"sending vectors to {self._uri}", total=len(vectors), completed=sent)
            for start in range(sent // BLOCK_ROWS * BLOCK_ROWS, len(vectors), BLOCK_ROWS):
                block = vectors[start : start + BLOCK_ROWS]
                rows = [{"id": start + row, "vector": vector} for row, vector in enumerate(np.array(block))]
                self._client.upsert(self._name, rows, timeout=self._timeout)
                bar.update(task, completed=start + len(block))

    def _count(self) -> int:
        answer = self._client.query(self._name, output_fields=["count(*)"], timeout=self._timeout)
        return int(answer[0]["count(*)"])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of the client into one message."""
        failure: Any = import_module("pymilvus").MilvusException
        try:
            yield
        except (failure, OSError, ValueError) as error:
            raise ConfigError(
                f"index.uri={self._uri}: Milvus does not answer, or refuses ({type(error).__name__}: {error}); start "
                "it, check the address and index.token, or use index=exact"
            ) from error


def _library() -> Any:
    try:
        return import_module("pymilvus")
    except ModuleNotFoundError as error:
        raise ConfigError('index=milvus needs pymilvus: pip install "tangka-match[milvus]"') from error
