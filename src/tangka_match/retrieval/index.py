"""Index of encoded images: built once per checkpoint and data set, memory-mapped, extended when images are added."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from rich.progress import Progress
from torch import nn

from tangka_match.data.split import Split
from tangka_match.errors import CheckpointError, ConfigError, DataFormatError
from tangka_match.retrieval.index_files import (
    MANIFEST,
    Manifest,
    append_rows,
    encoded_parts,
    read_array,
    read_encoded,
    read_ids,
    remove_other_generations,
)
from tangka_match.retrieval.nearest import ExactSearch, Hits
from tangka_match.retrieval.trained_matcher import TrainedMatcher
from tangka_match.types import Encoded

HASHED_ROWS = 256
"""Images read at once to compare their hashes."""


class Index:
    """Encoded images of one model in a folder.

    Use ``build`` or ``open`` to create one. The vectors are read from disk when they are used, so that an index may be
    larger than memory.

    Args:
        folder: Folder with ``manifest.json``.
        manifest: Content of the manifest.

    Example:
        >>> import tangka_match
        >>> matcher = tangka_match.load("best.ckpt")  # doctest: +SKIP
        >>> split = tangka_match.load_split("data/demo", "test")  # doctest: +SKIP
        >>> index = tangka_match.Index.build(matcher, split, "index")  # doctest: +SKIP
        >>> hits = index.search(matcher.encode_texts(["绿度母坐在莲花上"]), top=5)  # doctest: +SKIP
        >>> [index.image_ids[row] for row in hits.rows[0]]  # doctest: +SKIP
        ['demo-test-00041', 'demo-test-00210', 'demo-test-00007', 'demo-test-00133', 'demo-test-00320']
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self._load(manifest)

    def _load(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.image_ids = read_ids(self.folder, manifest)
        self.encoded: Encoded = read_encoded(self.folder, manifest)

    def __len__(self) -> int:
        return self.manifest.images

    @classmethod
    def build(cls, matcher: TrainedMatcher, split: Split, folder: str | Path) -> Self:
        """Build the index of a split, or bring an existing one up to date.

        An index of the same model is extended by images that were added at the end of the split. It is built again if
        the model, the order of the images or the features of an image have changed. An interrupted build goes on where
        it stopped.

        Args:
            matcher: Model that encodes the images.
            split: Images.
            folder: Folder of the index, created if missing.

        Raises:
            CheckpointError: If the features do not fit the model.
            DataFormatError: If the features of an image are not finite or all zero.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            encoder = encoder_fingerprint(matcher)
            manifest = Manifest.read(folder)
            if manifest is None or manifest.encoder != encoder or not _is_start_of(folder, manifest, split):
                manifest = Manifest(encoder)
                manifest.write(folder)
            remove_other_generations(folder, manifest)
            manifest = _append_images(folder, manifest, matcher, split, start=manifest.images)
            complete = replace(manifest, source=describe_source(split, split.num_images))
            if complete != manifest:
                complete.write(folder)
            return cls(folder, complete)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open an index without its model and data.

        Raises:
            ConfigError: If the folder holds no index, or an incomplete one.
        """
        manifest = Manifest.read(Path(folder))
        if manifest is None or not manifest.images:
            raise ConfigError(f"{folder}: no index (no readable {MANIFEST}); build one with tangka_match.Index.build")
        return cls(Path(folder), manifest)

    def add(self, matcher: TrainedMatcher, split: Split) -> int:
        """Add the images of another split, and return their number; images whose id is present already are skipped.

        Args:
            matcher: Model that built the index.
            split: Images.

        Raises:
            CheckpointError: If another model built the index, or the features do not fit it.
            DataFormatError: If an image has more regions than those of the index.
        """
        if encoder_fingerprint(matcher) != self.manifest.encoder:
            raise CheckpointError(
                f"{self.folder}: another model built this index than that of run {matcher.metadata['run_id']}; vectors "
                "of different models cannot be compared. Build an index of its own in another folder"
            )
        with FileLock(self.folder / ".lock"):
            manifest = Manifest.read(self.folder) or self.manifest
            known = set(read_ids(self.folder, manifest))
            new = np.array([row for row, name in enumerate(split.image_ids) if name not in known], dtype=np.int64)
            if len(new):
                chosen = replace(
                    split, features=split.features.select(new), image_ids=tuple(split.image_ids[row] for row in new)
                )
                manifest = _append_images(self.folder, manifest, matcher, chosen, start=0)
            self._load(manifest)
        return len(new)

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        """Pooled vectors, (N, D) float32, memory-mapped.

        Raises:
            ConfigError: If the model has none.
        """
        if self.encoded.pooled is None:
            raise ConfigError(
                f"{self.folder}: its model compares regions with words and has no vector per image; use it to re-rank "
                "(rerank=) the answers of another model"
            )
        return self.encoded.pooled.numpy()

    def search(self, queries: Encoded | npt.NDArray[np.float32], top: int = 10) -> Hits:
        """Find the images with the largest inner product, exactly.

        For models whose score is the cosine of two vectors these are the best images; for others see `Searcher`.

        Args:
            queries: Encoded captions, or vectors (Q, D).
            top: Number of images per query, >= 1.

        Returns:
            Rows of the images, which index ``image_ids``, and their scores.

        Raises:
            ConfigError: If ``top`` is below 1, the model has no vector per image, or the dimensions differ.
        """
        if top < 1:
            raise ConfigError(f"top={top} must be >= 1")
        vectors = self.vectors
        asked = (
            queries if isinstance(queries, np.ndarray) else None if queries.pooled is None else queries.pooled.numpy()
        )
        if asked is None or asked.ndim != 2 or asked.shape[1] != vectors.shape[1]:
            found = "no vectors" if asked is None else f"shape {asked.shape}"
            raise ConfigError(f"queries has {found}; this index takes (queries, {vectors.shape[1]})")
        return ExactSearch(vectors).search(asked, top)


def encoder_fingerprint(matcher: TrainedMatcher) -> str:
    """Hash the architecture, the weights and the precision of a model; 16 hex digits."""
    assert isinstance(matcher.matcher, nn.Module)
    about = {"model": matcher.metadata["model"], "dtype": str(matcher.dtype)}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    for name, value in sorted(matcher.matcher.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()[:16]


def describe_source(split: Split, images: int) -> dict[str, Any]:
    """Describe the file of the first images of a split: if nothing here has changed, neither have the features."""
    path = split.features.path
    state = path.stat()
    return {
        "path": str(path.absolute()),
        "bytes": state.st_size,
        "modified_ns": state.st_mtime_ns,
        "sample": split.features.select(np.arange(images)).fingerprint(),
    }


def hash_images(regions: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint64]:
    """Hash the features of each image, (B, R, F); 64 bits each."""
    digests = [hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in regions]
    return np.frombuffer(b"".join(digests), dtype="<u8")


def _is_start_of(folder: Path, manifest: Manifest, split: Split) -> bool:
    """Check whether the indexed images are the first images of the split, with the same features."""
    if manifest.images > split.num_images:
        return False
    try:
        ids = read_ids(folder, manifest)
        hashes = read_array(folder, manifest, "hashes") if manifest.images else np.empty(0, "<u8")
        read_encoded(folder, manifest) if manifest.images else None
    except ConfigError:
        return False
    if ids != split.image_ids[: manifest.images]:
        return False
    if manifest.images and manifest.source == describe_source(split, manifest.images):
        return True
    blocks = range(0, manifest.images, HASHED_ROWS)
    with Progress(transient=True) as bar:
        for start in bar.track(blocks, description=f"comparing {split.name} with its index"):
            rows = np.arange(start, min(start + HASHED_ROWS, manifest.images))
            if not np.array_equal(hash_images(split.features.read(rows)), hashes[rows]):
                return False
    return True


def _append_images(folder: Path, manifest: Manifest, matcher: TrainedMatcher, split: Split, start: int) -> Manifest:
    """Encode the images of a split from row ``start`` and append them, block by block."""
    if start == split.num_images:
        return manifest
    with Progress(transient=True) as bar:
        task = bar.add_task(f"encoding images of {split.name}", total=split.num_images, completed=start)
        for rows, encoded in matcher.encode_image_blocks(split, start):
            longest = manifest.shapes.get("tokens", [rows.regions.shape[1]])[0]
            if encoded.tokens is not None and encoded.tokens.shape[1] > longest:
                raise DataFormatError(
                    f"{split.features.path}: {encoded.tokens.shape[1]} regions per image, but the index {folder} was "
                    f"built with {longest}; build an index in another folder"
                )
            parts = {**encoded_parts(encoded, manifest.shapes), "hashes": hash_images(rows.regions)}
            ids = [split.image_ids[row] for row in rows.image_index]
            manifest = append_rows(folder, manifest, parts, ids)
            bar.update(task, completed=int(rows.image_index[-1]) + 1)
    return manifest
