"""Features in one array per image: a folder of ``.npy`` or ``.npz`` files, or the members of one ``.npz`` file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tangka_match.data.importers.arrays import (
    BOX_NAMES,
    HEIGHT_NAMES,
    WIDTH_NAMES,
    feature_member,
    open_npy,
    open_npz,
)
from tangka_match.data.importers.orientation import FeatureAxis, as_regions, item_shape
from tangka_match.data.importers.source import FeatureSource, ImageRegions, progress, relative_boxes
from tangka_match.errors import DataFormatError

IGNORED_SUFFIX = "_info.npy"
"""Files that Pythia and MMF write beside the features: pickled descriptions, which are never read."""


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """One array per image.

    Args:
        kind: Format in words.
        files: Folder or file.
        ids: Id of each image.
        counts: Regions of each image, (N,).
        dim: Dimensions per region.
        is_first: Whether the dimensions come before the regions.
        load: Function from an index to the array of an image, its boxes, and its width and height.
    """

    kind: str
    files: Sequence[Path]
    ids: Sequence[str]
    counts: npt.NDArray[np.int64]
    dim: int
    is_first: bool
    load: Callable[[int], "Loaded"]

    def read(self, images: npt.NDArray[np.int64]) -> Iterator[ImageRegions]:
        """Read images one by one."""
        for image in images.tolist():
            array, boxes, width, height = self.load(image)
            if boxes is not None and boxes.shape != (int(self.counts[image]), 4):
                raise DataFormatError(
                    f"{self.files[0]}: image {self.ids[image]!r} has {self.counts[image]} regions and boxes of shape "
                    f"{boxes.shape}; expected one box of four numbers per region"
                )
            found = None if boxes is None else relative_boxes(boxes, width, height)
            yield ImageRegions(image, as_regions(array, first=self.is_first), found)


Loaded = tuple[npt.NDArray[Any], npt.NDArray[Any] | None, float | None, float | None]


def open_image_folder(folder: Path, axis: FeatureAxis, scratch: Callable[[], Path]) -> FeatureSource:
    """Open a folder of ``.npy`` or ``.npz`` files, one per image, at any depth; the id is the path without extension.

    Args:
        folder: The folder.
        axis: Axis of the dimensions, see `orientation.item_shape`.
        scratch: Not used; the same signature for all readers.

    Raises:
        DataFormatError: If there are no such files, or their dimensions differ.
    """
    paths = [
        path
        for path in sorted(folder.rglob("*.np[yz]"))
        if not path.name.startswith(".") and not path.name.endswith(IGNORED_SUFFIX)
    ]
    if not paths:
        raise DataFormatError(
            f"features={folder}: no .npy, .npz, .tsv or HDF5 files there; give the folder that holds the features"
        )
    shapes = []
    bar, task = progress(len(paths), f"finding the images of {folder.name}")
    with bar:
        for path in paths:
            shapes.append((_shape(path), str(path)))
            bar.advance(task)
    ids = [path.relative_to(folder).with_suffix("").as_posix() for path in paths]
    return measured(
        "one file per image", [folder], ids, shapes=shapes, axis=axis, load=lambda image: _load(paths[image])
    )


def measured(
    kind: str,
    files: Sequence[Path],
    ids: Sequence[str],
    *,
    shapes: Sequence[tuple[tuple[int, ...], str]],
    axis: FeatureAxis,
    load: Callable[[int], Loaded],
) -> ImageFiles:
    """Find regions and dimensions of every image by its shape.

    Args:
        kind: Format in words.
        files: Folder or file.
        ids: Id of each image.
        shapes: Shape of each array, and where it is, for messages.
        axis: Axis of the dimensions, see `orientation.item_shape`.
        load: Function from an index to the content of an image.

    Raises:
        DataFormatError: If the dimensions differ between images.
    """
    _, dim, is_first = item_shape(shapes[0][0], axis, shapes[0][1])
    counts = []
    for shape, where in shapes:
        count, own, _ = item_shape(shape, "first" if is_first else "last", where)
        if own != dim:
            raise DataFormatError(
                f"{where}: shape {shape} has {own} dimensions per region, and {shapes[0][1]} has {dim}; give files of "
                "one extraction, or set feature_axis=last or feature_axis=first if the axis is taken wrongly"
            )
        counts.append(count)
    return ImageFiles(kind, files, ids, np.array(counts, dtype=np.int64), dim, is_first, load)


def _shape(path: Path) -> tuple[int, ...]:
    if path.suffix == ".npz":
        archive = open_npz(path)
        shape, dtype = archive.shapes[feature_member(archive)]
    else:
        array = open_npy(path)
        shape, dtype = array.shape, array.dtype
    if dtype.kind != "f":
        raise DataFormatError(f"{path}: dtype {dtype}; features must be floats")
    return shape


def _load(path: Path) -> Loaded:
    if path.suffix != ".npz":
        return np.load(path, allow_pickle=False), None, None, None
    archive = open_npz(path)
    boxes, *sizes = (archive.first_of(names) for names in (BOX_NAMES, WIDTH_NAMES, HEIGHT_NAMES))
    width, height = (None if name is None else float(archive.load(name)) for name in sizes)
    return archive.load(feature_member(archive)), None if boxes is None else archive.load(boxes), width, height
