"""HDF5: one dataset of many images, a dataset of all boxes with the place of each image, or one dataset per image."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tangka_match.data.captions import read_lines
from tangka_match.data.importers.arrays import BOX_NAMES, FEATURE_NAMES, HEIGHT_NAMES, ID_NAMES, WIDTH_NAMES
from tangka_match.data.importers.image_files import Loaded, measured
from tangka_match.data.importers.orientation import FeatureAxis, as_regions, item_shape
from tangka_match.data.importers.source import BLOCK_BYTES, FeatureSource, ImageRegions, relative_boxes, runs
from tangka_match.data.layout import IDS_SUFFIX
from tangka_match.errors import ConfigError, DataFormatError

PLACE_NAMES = ("pos_boxes", "offsets")
"""Datasets (N, 2) with the first and the last box of each image, as bottom-up-attention-vqa writes them."""


def open_hdf5(path: Path, axis: FeatureAxis, scratch: Callable[[], Path]) -> FeatureSource:
    """Open an HDF5 file.

    Args:
        path: The file.
        axis: Axis of the dimensions, see `orientation.item_shape`.
        scratch: Not used; the same signature for all readers.

    Raises:
        ConfigError: If h5py is not installed.
        DataFormatError: If the file cannot be read or holds no features.
    """
    try:
        h5py = import_module("h5py")
    except ImportError as error:
        raise ConfigError(
            f"features={path}: HDF5 needs the package h5py; install it with: pip install 'tangka-match[hdf5]'"
        ) from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataFormatError(f"{path}: damaged HDF5 file ({error}); copy or write it again") from error
    name = _first(file, FEATURE_NAMES)
    if name is None:
        return _per_image(path, file, axis)
    ids_name = _first(file, ID_NAMES)
    beside = path.with_name(f"{path.stem}{IDS_SUFFIX}")
    ids: list[str] | None = read_lines(beside) if ids_name is None and beside.is_file() else None
    if ids_name is not None:
        ids = [
            value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in file[ids_name][:].tolist()
        ]
    places = _first(file, PLACE_NAMES)
    shape = file[name].shape
    if places is not None:
        bounds = np.asarray(file[places][:], dtype=np.int64)
        regions, dim, is_first = 0, int(shape[-1]), False
        counts = bounds[:, 1] - bounds[:, 0]
    else:
        bounds = None
        regions, dim, is_first = item_shape(tuple(shape[1:]), axis, f"{path}: {name}")
        counts = np.full(shape[0], regions, dtype=np.int64)
    if ids is not None and len(ids) != len(counts):
        raise DataFormatError(f"{path}: {len(counts):,} images and {len(ids):,} ids; give one id for each image")
    return Hdf5Features(path, file[name], counts, dim, is_first, ids, _optional(file, BOX_NAMES), bounds, _sizes(file))


@dataclass(frozen=True, eq=False)
class Hdf5Features:
    """Features in one dataset.

    Args:
        path: The file.
        data: Dataset (N, …), or (boxes of all images, F) with ``bounds``.
        counts: Regions of each image, (N,).
        dim: Dimensions per region.
        is_first: Whether the dimensions come before the regions.
        ids: Image ids, or ``None``.
        boxes: Dataset of boxes shaped like ``data``, or ``None``.
        bounds: First and last box of each image, (N, 2), or ``None``.
        sizes: Widths and heights (2, N), or ``None``.
    """

    path: Path
    data: Any
    counts: npt.NDArray[np.int64]
    dim: int
    is_first: bool
    ids: Sequence[str] | None
    boxes: Any
    bounds: npt.NDArray[np.int64] | None
    sizes: npt.NDArray[np.floating] | None
    kind: str = "HDF5"

    @property
    def files(self) -> Sequence[Path]:
        """The file."""
        return [self.path]

    def read(self, images: npt.NDArray[np.int64]) -> Iterator[ImageRegions]:
        """Read images one by one, in blocks of consecutive rows."""
        longest = max(1, BLOCK_BYTES // max(1, int(self.counts.max()) * self.dim * 8))
        for start, stop in runs(images.tolist(), longest):
            first, last = (start, stop) if self.bounds is None else (self.bounds[start, 0], self.bounds[stop - 1, 1])
            values = self.data[first:last]
            boxes = None if self.boxes is None else self.boxes[first:last]
            for image in range(start, stop):
                rows: Any = image - start
                if self.bounds is not None:
                    rows = slice(*(self.bounds[image] - first))
                regions = values[rows] if self.bounds is not None else as_regions(values[rows], first=self.is_first)
                yield ImageRegions(image, regions, None if boxes is None else self._relative(image, boxes[rows]))

    def _relative(self, image: int, boxes: npt.NDArray[np.floating]) -> npt.NDArray[np.float32] | None:
        width, height = (None, None) if self.sizes is None else self.sizes[:, image].tolist()
        return relative_boxes(boxes, width, height)


def _per_image(path: Path, file: Any, axis: FeatureAxis) -> FeatureSource:
    """Open a file whose datasets or groups are named by image id."""
    ids = list(file)
    if not ids:
        raise DataFormatError(f"{path}: the file is empty; expected features, or one dataset per image")
    names = [_dataset(path, file, name) for name in ids]

    def load(image: int) -> Loaded:
        holder = file[ids[image]]
        if not hasattr(holder, "keys"):
            return holder[:], None, None, None
        sizes = (_optional(holder, each) for each in (WIDTH_NAMES, HEIGHT_NAMES))
        width, height = (None if size is None else float(np.asarray(size[()]).ravel()[0]) for size in sizes)
        boxes = _optional(holder, BOX_NAMES)
        return file[names[image]][:], None if boxes is None else boxes[:], width, height

    shapes = [(tuple(file[name].shape), f"{path}: {name}") for name in names]
    return measured("HDF5, one dataset per image", [path], ids, shapes=shapes, axis=axis, load=load)


def _dataset(path: Path, file: Any, name: str) -> str:
    if not hasattr(file[name], "keys"):
        return name
    inner = _first(file[name], FEATURE_NAMES)
    if inner is None:
        raise DataFormatError(
            f"{path}: {name} holds {', '.join(file[name]) or 'nothing'}; expected features under one of the names "
            f"{', '.join(FEATURE_NAMES)}"
        )
    return f"{name}/{inner}"


def _sizes(file: Any) -> npt.NDArray[np.floating] | None:
    width, height = _optional(file, WIDTH_NAMES), _optional(file, HEIGHT_NAMES)
    return None if width is None or height is None else np.stack([width[:], height[:]])


def _first(holder: Any, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in holder), None)


def _optional(holder: Any, names: Sequence[str]) -> Any:
    name = _first(holder, names)
    return None if name is None else holder[name]
