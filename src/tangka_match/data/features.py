"""Memory-mapped region features, read one batch at a time."""

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
"""Number of rows that are read to check or fingerprint a set."""


class Features(Protocol):
    """Region features of N images, (N, R, F), in one file or several."""

    @property
    def path(self) -> Path:
        """File of the (first) features, for messages."""
        ...

    @property
    def num_images(self) -> int:
        """Number of images, N."""
        ...

    @property
    def num_regions(self) -> int:
        """Regions per image including padding, R."""
        ...

    @property
    def feature_dim(self) -> int:
        """Dimensions per region, F."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype that ``read`` returns: float16 or float32."""
        ...

    def read(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.floating[Any]]:
        """Read these images into memory, (B, R, F)."""
        ...

    def origin(self, image: int) -> tuple[Path, int]:
        """Return the file of an image, and its row in that file."""
        ...

    def select(self, images: npt.NDArray[np.int64]) -> "Features":
        """Return a set of only these images, ascending indices in [0, N); nothing is copied."""
        ...

    def fingerprint(self) -> str:
        """Hash shape, dtype and a sample of the images; 16 hex digits."""
        ...

    def release(self) -> None:
        """Give the memory of pages read so far back to the system, which would otherwise hold the whole set."""
        ...


@dataclass(frozen=True, eq=False)
class RegionFeatures:
    """Region features of a split, (N, R, F), in one memory-mapped file.

    The file is mapped on first use in each process, so that sending the object to workers is cheap. A set may be
    larger than memory.

    Args:
        header: Header of the ``.npy`` file, from ``read_npy_header``.
        row_map: File row of each image, (N,) int64; ``None`` if row n is image n.

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
        """Open a file of region features and check its header; no row is read.

        Args:
            path: File ``.npy`` of shape (N, R, F), float16 or float32, in C order.

        Raises:
            DataFormatError: If the file is not such an array, is empty, or does not have the size of its header.
        """
        header = read_npy_header(path)
        if len(header.shape) != 3:
            vectors = " One vector per image: np.save(path, array[:, None])." if len(header.shape) == 2 else ""
            raise DataFormatError(
                f"{header.path}: region features must be (images, regions, dimensions); found shape {header.shape}."
                f"{vectors} tangka_match.prepare reads other layouts."
            )
        if header.dtype not in (np.float16, np.float32):
            raise DataFormatError(
                f"{header.path}: region features must be in float16 or float32; found dtype {header.dtype.str}. "
                "Convert with np.save(path, array.astype('float16'))."
            )
        if 0 in header.shape:
            raise DataFormatError(
                f"{header.path}: shape {header.shape} is empty; at least 1 image, region and dimension are needed."
            )
        return cls(header)

    @property
    def path(self) -> Path:
        """File of the features."""
        return self.header.path

    @property
    def num_images(self) -> int:
        """Number of images, N; fewer than the rows of the file if images are repeated per caption."""
        return self.num_rows if self.row_map is None else len(self.row_map)

    @property
    def num_rows(self) -> int:
        """Number of rows in the file."""
        return self.header.shape[0]

    @property
    def num_regions(self) -> int:
        """Regions per image including padding, R."""
        return self.header.shape[1]

    @property
    def feature_dim(self) -> int:
        """Dimensions per region, F."""
        return self.header.shape[2]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored dtype: float16 or float32."""
        return self.header.dtype

    def read(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.floating[Any]]:
        """Read images into memory.

        Args:
            rows: Image indices in [0, N), (B,).

        Returns:
            Features (B, R, F) in the stored dtype.
        """
        file_rows = rows if self.row_map is None else self.row_map[rows]
        array = self._array
        read_ahead(self._mapping, self.header.offset, array[0].nbytes, file_rows)
        return array[file_rows]

    def origin(self, image: int) -> tuple[Path, int]:
        """Return the file of an image, and its row in that file."""
        return self.path, image if self.row_map is None else int(self.row_map[image])

    def first_regions(self, start: int, stop: int) -> npt.NDArray[np.floating[Any]]:
        """Read the first region of file rows ``start`` to ``stop``, (rows, F)."""
        return self._array[start:stop, 0]

    def with_row_map(self, row_map: npt.NDArray[np.int64]) -> Self:
        """Return the same file with the images at these file rows, (N,); nothing is copied."""
        return replace(self, row_map=row_map)

    def select(self, images: npt.NDArray[np.int64]) -> Self:
        """Return a set of only these images, indices in [0, N); nothing is copied."""
        return self.with_row_map(images if self.row_map is None else self.row_map[images])

    def sample_indices(self) -> npt.NDArray[np.int64]:
        """Return at most ``SAMPLED_ROWS`` evenly spaced image indices, including the first and the last."""
        return np.unique(np.linspace(0, self.num_images - 1, SAMPLED_ROWS).astype(np.int64))

    def fingerprint(self) -> str:
        """Hash shape, dtype and a sample of the images; 16 hex digits, the same on every machine."""
        shape = (self.num_images, self.num_regions, self.feature_dim, self.dtype.str)
        digest = hashlib.sha256(repr(shape).encode())
        digest.update(self.read(self.sample_indices()).tobytes())
        return digest.hexdigest()[:16]

    def release(self) -> None:
        """Give the memory of pages read so far back to the system, where it supports that (``madvise``)."""
        if "_mapping" in self.__dict__ and hasattr(mmap, "MADV_DONTNEED"):
            self._mapping.madvise(mmap.MADV_DONTNEED)

    @cached_property
    def _mapping(self) -> mmap.mmap:
        with self.path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @cached_property
    def _array(self) -> npt.NDArray[np.floating[Any]]:
        """The mapped file as a plain array: indexing a ``np.memmap`` takes a third longer."""
        flat = np.frombuffer(self._mapping, self.dtype, math.prod(self.header.shape), self.header.offset)
        return flat.reshape(self.header.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in {"_array", "_mapping"}}
