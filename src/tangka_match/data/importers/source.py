"""Region features as other programs store them: what every reader offers, and what several readers share."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import rich
from rich.progress import Progress, TaskID

from tangka_match.errors import DataFormatError

BLOCK_BYTES = 32 * 2**20
"""Most bytes of features that a reader holds at once."""

ROUNDING = 1e-3
"""Largest excess over 1 of a relative box."""


class ImageRegions(NamedTuple):
    """Features of one image.

    Attributes:
        image: Index of the image in its source.
        regions: Region features (R, F), in the stored dtype.
        boxes: Boxes (R, 4), left, top, right, bottom in [0, 1]; ``None`` if there are none.
    """

    image: int
    regions: npt.NDArray[np.floating]
    boxes: npt.NDArray[np.floating] | None


class FeatureSource(Protocol):
    """Region features of N images in a format of another program."""

    @property
    def kind(self) -> str:
        """Format in words, such as ``bottom-up-attention TSV``."""
        ...

    @property
    def files(self) -> Sequence[Path]:
        """Files or folders that hold the features."""
        ...

    @property
    def ids(self) -> Sequence[str] | None:
        """Ids of the N images; ``None`` if the files have none."""
        ...

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Regions of each image, (N,)."""
        ...

    @property
    def dim(self) -> int:
        """Dimensions per region, F."""
        ...

    def read(self, images: npt.NDArray[np.int64]) -> Iterator[ImageRegions]:
        """Read images one by one, in bounded memory.

        Args:
            images: Ascending indices in [0, N).
        """
        ...


@dataclass(frozen=True, eq=False)
class JoinedSource:
    """Several sources of one format, one after the other.

    Args:
        parts: The sources, at least one.
    """

    parts: Sequence[FeatureSource]

    @property
    def kind(self) -> str:
        """Format in words."""
        return self.parts[0].kind

    @property
    def files(self) -> Sequence[Path]:
        """Files of all parts."""
        return [file for part in self.parts for file in part.files]

    @property
    def ids(self) -> Sequence[str] | None:
        """Ids of all images; ``None`` unless every part has ids."""
        names = [part.ids for part in self.parts]
        return None if any(ids is None for ids in names) else [name for ids in names for name in ids or ()]

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Regions of each image, (N,)."""
        return np.concatenate([part.counts for part in self.parts])

    @property
    def dim(self) -> int:
        """Dimensions per region, F."""
        return self.parts[0].dim

    def read(self, images: npt.NDArray[np.int64]) -> Iterator[ImageRegions]:
        """Read images one by one, part after part."""
        first = 0
        for part in self.parts:
            last = first + len(part.counts)
            inside = images[(images >= first) & (images < last)]
            for found in part.read(inside - first):
                yield found._replace(image=found.image + first)
            first = last


def join_sources(parts: Sequence[FeatureSource]) -> FeatureSource:
    """Join sources of one format.

    Raises:
        DataFormatError: If formats or dimensions differ, or only some of the sources have ids.
    """
    if len(parts) == 1:
        return parts[0]
    for part in parts[1:]:
        for what, one, other in (
            ("format", parts[0].kind, part.kind),
            ("dimensions per region", parts[0].dim, part.dim),
            ("image ids", parts[0].ids is not None, part.ids is not None),
        ):
            if one != other:
                raise DataFormatError(
                    f"features: {part.files[0]} and {parts[0].files[0]} differ in their {what} ({other} and {one}); "
                    "give files of one extraction, or prepare them apart"
                )
    return JoinedSource(parts)


def relative_boxes(
    boxes: npt.NDArray[np.floating], width: float | None, height: float | None
) -> npt.NDArray[np.float32] | None:
    """Divide boxes in pixels by the size of the image and clip them to it.

    Args:
        boxes: (R, 4) left, top, right, bottom, in pixels or in [0, 1].
        width: Width of the image (pixels); ``None`` if unknown.
        height: Height of the image (pixels); ``None`` if unknown.

    Returns:
        Boxes in [0, 1], or ``None`` if they are in pixels and the size is unknown.

    >>> relative_boxes(np.array([[0.0, 50.0, 320.0, 250.0]]), 640, 200).tolist()
    [[0.0, 0.25, 0.5, 1.0]]
    """
    boxes = np.asarray(boxes, dtype=np.float32)
    if boxes.size and boxes.max() > 1 + ROUNDING:
        if not width or not height:
            return None
        boxes = np.divide(boxes, np.array([width, height, width, height], dtype=np.float32))
    boxes = boxes.clip(0, 1)
    return np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), boxes[:, 2:]], axis=1)


def progress(total: float | None, description: str) -> tuple[Progress, TaskID]:
    """Return a progress bar that is drawn on a terminal only, and its task; to be used in a ``with``."""
    console = rich.get_console()
    bar = Progress(console=console, transient=True, disable=not console.is_terminal)
    return bar, bar.add_task(description, total=total)


def runs(images: Iterable[int], longest: int) -> Iterator[tuple[int, int]]:
    """Group ascending indices into runs of consecutive ones.

    Args:
        images: Ascending indices.
        longest: Most indices of a run.

    >>> list(runs([0, 1, 2, 5, 6], longest=2))
    [(0, 2), (2, 3), (5, 7)]
    """
    start = stop = -1
    for image in images:
        if image == stop and stop - start < longest:
            stop += 1
            continue
        if stop > start:
            yield start, stop
        start, stop = image, image + 1
    if stop > start:
        yield start, stop
