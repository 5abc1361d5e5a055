"""Arrays of ``.npy`` files and ``.npz`` members, of any float type and memory order, read in bounded memory."""

import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from tangka_match.data.npy import parse_header
from tangka_match.errors import DataFormatError

FEATURE_NAMES = (
    *("features", "feature", "feats", "feat", "x", "image_features", "region_features", "region_feat", "roi_features"),
    *("att_feats", "arr_0"),
)
BOX_NAMES = ("boxes", "bbox", "bboxes", "box", "image_bb", "norm_bb")
ID_NAMES = ("ids", "image_ids", "image_id", "img_ids", "img_id", "filenames", "names", "keys")
WIDTH_NAMES, HEIGHT_NAMES = ("image_w", "img_w", "width", "w"), ("image_h", "img_h", "height", "h")


@dataclass(frozen=True)
class StoredArray:
    """Array in a file.

    Args:
        path: File that holds the bytes.
        offset: Start of the data (bytes).
        shape: Shape of the array.
        dtype: Dtype of any byte order, without Python objects.
        is_fortran: Whether the first axis varies fastest.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool

    def rows(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Read rows ``start`` to ``stop`` of the first axis."""
        if self.is_fortran:  # mapped anew each time, so that the pages read before can be released
            mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order="F")
            return np.ascontiguousarray(mapped[start:stop])
        size = prod(self.shape[1:])
        flat = np.fromfile(
            self.path, self.dtype, (stop - start) * size, offset=self.offset + start * size * self.dtype.itemsize
        )
        return flat.reshape(stop - start, *self.shape[1:])


def open_npy(path: Path) -> StoredArray:
    """Open the array of a ``.npy`` file.

    Raises:
        DataFormatError: If the file is damaged, cut off, or holds Python objects, which are never unpickled.
    """
    with path.open("rb") as file:
        shape, is_fortran, dtype = _read_header(file, str(path))
        offset = file.tell()
    expected = offset + prod(shape) * dtype.itemsize
    if path.stat().st_size != expected:
        raise DataFormatError(
            f"{path}: {path.stat().st_size:,} bytes found, {expected:,} expected from its header; copy the file again"
        )
    return StoredArray(path, offset, shape, dtype, is_fortran)


def _read_header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        shape, is_fortran, dtype = parse_header(file)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataFormatError(f"{where}: not a readable array ({error}); write it again with np.save") from error
    if dtype.hasobject:
        raise DataFormatError(
            f"{where}: holds Python objects, which are never unpickled. Images with different numbers of boxes: write "
            "one .npz file per image, or one array padded with zeros, np.zeros((images, most_boxes, dimensions))"
        )
    return shape, is_fortran, dtype


@dataclass(frozen=True)
class NpzFile:
    """Archive of arrays.

    Args:
        path: ``.npz`` file.
        shapes: Shape and dtype of each member without Python objects.
        skipped: Members that hold Python objects.
    """

    path: Path
    shapes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
    skipped: tuple[str, ...]

    def load(self, name: str) -> npt.NDArray[Any]:
        """Read a member into memory."""
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                return archive[name]
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise DataFormatError(f"{self.path}: {name} cannot be read ({error}); copy the file again") from error

    def unpack(self, name: str, folder: Path) -> StoredArray:
        """Write a member to a file of its own, so that its rows can be read in any order."""
        target = folder / f"{self.path.stem}-{len(list(folder.iterdir()))}.npy"
        try:
            with (
                zipfile.ZipFile(self.path) as archive,
                archive.open(f"{name}.npy") as packed,
                target.open("wb") as file,
            ):
                shutil.copyfileobj(packed, file, 2**20)
        except (zipfile.BadZipFile, EOFError) as error:
            raise DataFormatError(f"{self.path}: {name} cannot be read ({error}); copy the file again") from error
        return open_npy(target)

    def first_of(self, names: tuple[str, ...]) -> str | None:
        """Return the first of these names that a member has."""
        return next((name for name in names if name in self.shapes), None)

    def floats(self) -> list[str]:
        """List the members with floats and at least one axis."""
        return [name for name, (shape, dtype) in self.shapes.items() if dtype.kind == "f" and shape]


def open_npz(path: Path) -> NpzFile:
    """Read the headers of all members.

    Raises:
        DataFormatError: If the file is no archive of arrays.
    """
    shapes, skipped = {}, []
    for name, file in _members(path):
        try:
            shape, _, dtype = _read_header(file, f"{path}: {name}")
            shapes[name] = (shape, dtype)
        except DataFormatError:
            skipped.append(name)
    if not shapes:
        raise DataFormatError(
            f"{path}: holds no plain arrays (found: {', '.join(skipped) or 'nothing'}); Python objects are never "
            "unpickled. Write numeric arrays: np.savez(path, features=…, boxes=…)"
        )
    return NpzFile(path, shapes, tuple(skipped))


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".npy"):
                    with archive.open(name) as file:
                        yield name.removesuffix(".npy"), file
    except zipfile.BadZipFile as error:
        raise DataFormatError(f"{path}: damaged .npz file ({error}); copy or write it again") from error


def feature_member(archive: NpzFile) -> str:
    """Return the member that holds the features.

    Raises:
        DataFormatError: If it cannot be told.
    """
    name = archive.first_of(FEATURE_NAMES)
    if name is None:
        rest = [each for each in archive.floats() if each not in (*BOX_NAMES, *WIDTH_NAMES, *HEIGHT_NAMES)]
        if len(rest) == 1:
            return rest[0]
        raise DataFormatError(
            f"{archive.path}: no array is called {', '.join(FEATURE_NAMES[:5])} … (found: "
            f"{', '.join(archive.shapes)}); rename the features: np.savez(path, features=…)"
        )
    return name
