"""One array with the features of many images: ``.npy``, or a member of a ``.npz`` file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tangka_match.data.captions import read_lines
from tangka_match.data.importers.arrays import (
    BOX_NAMES,
    FEATURE_NAMES,
    HEIGHT_NAMES,
    ID_NAMES,
    WIDTH_NAMES,
    NpzFile,
    StoredArray,
    feature_member,
    open_npy,
    open_npz,
)
from tangka_match.data.importers.image_files import measured
from tangka_match.data.importers.orientation import FeatureAxis, as_regions, item_shape
from tangka_match.data.importers.source import BLOCK_BYTES, FeatureSource, ImageRegions, relative_boxes, runs
from tangka_match.data.layout import BOXES_SUFFIX, FEATURES_SUFFIX, IDS_SUFFIX
from tangka_match.errors import DataFormatError


@dataclass(frozen=True, eq=False)
class ArrayFeatures:
    """Features in one array, (N, …).

    Args:
        path: File that the user gave.
        array: The features.
        regions: Regions of each image, R.
        dim: Dimensions per region, F.
        is_first: Whether the dimensions come before the regions.
        ids: Image ids, or ``None``.
        boxes: Boxes (N, R, 4) in memory, or ``None``.
        sizes: Widths and heights of the images (2, N), or ``None``.
    """

    path: Path
    array: StoredArray
    regions: int
    dim: int
    is_first: bool
    ids: Sequence[str] | None
    boxes: npt.NDArray[np.floating] | None
    sizes: npt.NDArray[np.floating] | None
    kind: str = "array"

    @property
    def files(self) -> Sequence[Path]:
        """The file."""
        return [self.path]

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Regions of each image, (N,)."""
        return np.full(self.array.shape[0], self.regions, dtype=np.int64)

    def read(self, images: npt.NDArray[np.int64]) -> Iterator[ImageRegions]:
        """Read images one by one, in blocks of consecutive rows."""
        longest = max(1, BLOCK_BYTES // (self.regions * self.dim * self.array.dtype.itemsize))
        for start, stop in runs(images.tolist(), longest):
            for image, values in enumerate(self.array.rows(start, stop), start):
                yield ImageRegions(image, as_regions(values, first=self.is_first), self._boxes(image))

    def _boxes(self, image: int) -> npt.NDArray[np.float32] | None:
        if self.boxes is None:
            return None
        width, height = (None, None) if self.sizes is None else self.sizes[:, image].tolist()
        return relative_boxes(self.boxes[image], width, height)


def open_npy_features(path: Path, axis: FeatureAxis, scratch: Callable[[], Path]) -> FeatureSource:
    """Open a ``.npy`` file of many images; ids and boxes come from ``<name>_ids.txt`` and ``<name>_boxes.npy``.

    Args:
        path: The file.
        axis: Axis of the dimensions, see `orientation.item_shape`.
        scratch: Not used; the same signature for all readers.

    Raises:
        DataFormatError: If the array has no float features, or ids or boxes do not fit it.
    """
    boxes = next((beside for beside in _beside(path, BOXES_SUFFIX) if beside.is_file()), None)
    found = None if boxes is None else np.load(boxes, allow_pickle=False)
    return _features(path, str(path), open_npy(path), axis, ids=_ids_beside(path), boxes=found, sizes=None)


def open_npz_features(path: Path, axis: FeatureAxis, scratch: Callable[[], Path]) -> FeatureSource:
    """Open a ``.npz`` file with one array of many images, or with one array per image, named by its id.

    Args:
        path: The file.
        axis: Axis of the dimensions, see `orientation.item_shape`.
        scratch: Function that returns a folder for unpacked members.

    Raises:
        DataFormatError: If the features cannot be told from other arrays, or ids or boxes do not fit them.
    """
    archive = open_npz(path)
    if archive.first_of(FEATURE_NAMES) is None and len(archive.floats()) > 1:
        return _one_array_per_image(archive, axis)
    name = feature_member(archive)
    ids = archive.first_of(ID_NAMES)
    boxes, width, height = (archive.first_of(names) for names in (BOX_NAMES, WIDTH_NAMES, HEIGHT_NAMES))
    sizes = np.stack([archive.load(width), archive.load(height)]) if width and height else None
    return _features(
        path,
        f"{path}: {name}",
        archive.unpack(name, scratch()),
        axis,
        ids=_ids_beside(path) if ids is None else _text_ids(archive, ids),
        boxes=None if boxes is None else archive.load(boxes),
        sizes=sizes,
    )


def _one_array_per_image(archive: NpzFile, axis: FeatureAxis) -> FeatureSource:
    opened, names = np.load(archive.path, allow_pickle=False), archive.floats()
    shapes = [(archive.shapes[name][0], f"{archive.path}: {name}") for name in names]
    kind = ".npz with one array per image"
    return measured(
        kind,
        [archive.path],
        names,
        shapes=shapes,
        axis=axis,
        load=lambda image: (opened[names[image]], None, None, None),
    )


def _features(
    path: Path,
    where: str,
    array: StoredArray,
    axis: FeatureAxis,
    *,
    ids: Sequence[str] | None,
    boxes: npt.NDArray[np.floating] | None,
    sizes: npt.NDArray[np.floating] | None,
) -> ArrayFeatures:
    if array.dtype.kind != "f":
        raise DataFormatError(f"{where}: dtype {array.dtype}; features must be floats")
    if len(array.shape) < 2 or 0 in array.shape:
        raise DataFormatError(
            f"{where}: shape {array.shape}; allowed: (images, dimensions), (images, regions, dimensions), "
            "(images, dimensions, regions) or grids (images, height, width, dimensions)"
        )
    regions, dim, is_first = item_shape(array.shape[1:], axis, where)
    count = array.shape[0]
    for what, size in (("ids", None if ids is None else len(ids)), ("boxes", None if boxes is None else len(boxes))):
        if size is not None and size != count:
            raise DataFormatError(
                f"{where}: {count:,} images and {size:,} {what}; give one for each image, or remove them"
            )
    if boxes is not None and boxes.shape != (count, regions, 4):
        raise DataFormatError(f"{where}: boxes of shape {boxes.shape}, expected {(count, regions, 4)}")
    return ArrayFeatures(path, array, regions, dim, is_first, ids, boxes, sizes)


def _beside(path: Path, suffix: str) -> list[Path]:
    stems = dict.fromkeys([path.stem, path.name.removesuffix(FEATURES_SUFFIX)])
    return [path.with_name(f"{stem}{suffix}") for stem in stems]


def _ids_beside(path: Path) -> list[str] | None:
    found = next((beside for beside in _beside(path, IDS_SUFFIX) if beside.is_file()), None)
    return None if found is None else read_lines(found)


def _text_ids(archive: NpzFile, name: str) -> list[str]:
    values = archive.load(name)
    if values.dtype.kind == "S":
        return [value.decode("utf-8", "replace") for value in values.tolist()]
    return [str(value) for value in values.tolist()]
