"""Region features on disk: opened by their header, memory-mapped, read a batch at a time."""

import hashlib
import math
import mmap
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from tangka_match.data.npy import NpyHeader, read_ahead, read_npy_header
from tangka_match.errors import DataFormatError

SAMPLED_ROWS = 64
"""Rows that are looked at when a set is opened or fingerprinted."""


class Features(Protocol):
    """The region features of N images, (N, R, F), wherever they lie: in one file, or in several."""

    @property
    def path(self) -> Path:
        """A file that holds some of them, for messages about all."""
        ...

    @property
    def num_images(self) -> int:
        """N, images."""
        ...

    @property
    def num_regions(self) -> int:
        """R, regions an image, padding included."""
        ...

    @property
    def feature_dim(self) -> int:
        """F, dimensions of a region."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what ``read`` returns: float16 or float32."""
        ...

    def read(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.floating[Any]]:
        """Copy these images into memory, (B, R, F)."""
        ...

    def origin(self, image: int) -> tuple[Path, int]:
        """File of an image, and its row there."""
        ...


@dataclass(frozen=True, eq=False)
class RegionFeatures:
    """The region features of a split, (N, R, F), left on disk until rows of them are read.

    The array is mapped on first use, and mapped anew in every process that unpickles the object, so that passing it
    to workers costs nothing. A set larger than memory is fine.

    Args:
        header: Header of the ``.npy`` file, as ``read_npy_header`` gives it.
        row_map: (N,) int64, the file row of each image, where they are not one and the same.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "train_ims.npy"
    >>> np.save(path, np.arange(1, 25, dtype=np.float16).reshape(3, 2, 4))
    >>> features = RegionFeatures.open(path)
    >>> features.num_images, features.num_regions, features.feature_dim, features.dtype
    (3, 2, 4, dtype('float16'))
    >>> features.read(np.array([2, 0]))[:, 0, 0].tolist()
    [17.0, 1.0]
    """

    header: NpyHeader
    row_map: npt.NDArray[np.int64] | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Check the header of an array of region features; no row is read.

        Args:
            path: A ``.npy`` file, (N, R, F), float16 or float32, in C order.

        Raises:
            DataFormatError: If the file is no such array, is empty or is shorter than its header promises.
        """
        header = read_npy_header(path)
        if len(header.shape) != 3 or header.dtype not in (np.float16, np.float32):
            raise DataFormatError(
                f"{header.path}: region features must be (images, regions, dimensions) in float16 or float32; "
                f"found shape {header.shape}, dtype {header.dtype.str}. "
                "Convert with np.save(path, array.astype('float16'))."
            )
        if 0 in header.shape:
            raise DataFormatError(
                f"{header.path}: shape {header.shape} holds nothing; at least 1 image, region and dimension are needed."
            )
        return cls(header)

    @property
    def path(self) -> Path:
        """The file."""
        return self.header.path

    @property
    def num_images(self) -> int:
        """N, images; fewer than rows in the file where the file repeats them."""
        return self.num_rows if self.row_map is None else len(self.row_map)

    @property
    def num_rows(self) -> int:
        """Rows in the file."""
        return self.header.shape[0]

    @property
    def num_regions(self) -> int:
        """R, regions an image, padding included."""
        return self.header.shape[1]

    @property
    def feature_dim(self) -> int:
        """F, dimensions of a region."""
        return self.header.shape[2]

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored: float16 or float32."""
        return self.header.dtype

    def read(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.floating[Any]]:
        """Copy images into memory, by one fancy index.

        Args:
            rows: (B,) image indices in [0, N).

        Returns:
            (B, R, F), the stored dtype.
        """
        file_rows = rows if self.row_map is None else self.row_map[rows]
        array = self._array
        read_ahead(self._mapping, self.header.offset, array[0].nbytes, file_rows)
        return array[file_rows]

    def origin(self, image: int) -> tuple[Path, int]:
        """File of an image, and its row there."""
        return self.path, image if self.row_map is None else int(self.row_map[image])

    def first_regions(self, start: int, stop: int) -> npt.NDArray[np.floating[Any]]:
        """First region of file rows ``start`` to ``stop``, (rows, F): a cheap look at many rows."""
        return self._array[start:stop, 0]

    def with_row_map(self, row_map: npt.NDArray[np.int64]) -> Self:
        """The same file seen as the images at these file rows, (N,); nothing is copied."""
        return replace(self, row_map=row_map)

    def select(self, images: npt.NDArray[np.int64]) -> Self:
        """These images of the set, (N,) indices in [0, N), as a set of their own; nothing is copied."""
        return self.with_row_map(images if self.row_map is None else self.row_map[images])

    def sample_indices(self) -> npt.NDArray[np.int64]:
        """At most ``SAMPLED_ROWS`` image indices, evenly spread, first and last included."""
        return np.unique(np.linspace(0, self.num_images - 1, SAMPLED_ROWS).astype(np.int64))

    def fingerprint(self) -> str:
        """16 hex digits from shape, dtype and sampled images: the same on every machine and for every copy."""
        shape = (self.num_images, self.num_regions, self.feature_dim, self.dtype.str)
        digest = hashlib.sha256(repr(shape).encode())
        digest.update(self.read(self.sample_indices()).tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def _mapping(self) -> mmap.mmap:
        with self.path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @cached_property
    def _array(self) -> npt.NDArray[np.floating[Any]]:
        """The mapped file as a plain array: indexing a ``np.memmap`` costs a third more."""
        flat = np.frombuffer(self._mapping, self.dtype, math.prod(self.header.shape), self.header.offset)
        return flat.reshape(self.header.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in {"_array", "_mapping"}}
