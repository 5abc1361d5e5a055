"""Which rows of the features are images, and which image each caption describes."""

from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tangka_match.data.captions import check_unique, group_ids
from tangka_match.data.features import SAMPLED_ROWS, RegionFeatures
from tangka_match.errors import DataFormatError

_BLOCK = 512
"""Rows whose first regions are compared at a time."""


@dataclass(frozen=True, eq=False)
class Pairing:
    """The images of a split and the captions that belong to them.

    Args:
        row_map: (N,) file row of each image, or ``None`` where row n is image n.
        caption_to_image: (C,) int64, image of each caption.
        image_ids: N ids; the image's number as text where no ids are given.
    """

    row_map: npt.NDArray[np.int64] | None
    caption_to_image: npt.NDArray[np.int64]
    image_ids: tuple[str, ...]


def pair(features: RegionFeatures, num_captions: int, ids: list[str] | None, ids_path: Path | None) -> Pairing:
    """Decide which image each caption belongs to.

    Four layouts are known, with M rows of features and C captions: C = M·k, k captions an image; ids one a caption
    (any number of captions an image); and each of these with rows repeated once a caption (M = C), of which the first
    row stands for the image. Repetition without ids is recognised when every image has the same number of captions.

    Args:
        features: Region features, as in the file.
        num_captions: C, lines of the caption file.
        ids: Lines of the id file, or ``None`` without one.
        ids_path: The id file, for messages.

    Raises:
        DataFormatError: If rows, captions and ids do not fit together.
    """
    rows = features.num_rows
    if (
        ids is not None
        and ids_path is not None
        and len(ids) == num_captions
        and (rows != num_captions or _repeats(ids))
    ):
        return _pair_by_caption_ids(features, ids, ids_path)
    if ids is not None and ids_path is not None:
        check_unique(ids, ids_path)
    repeats = 1
    if rows == num_captions and (ids is None or len(ids) != rows):
        repeats = count_repeats(features)
    images = rows // repeats
    if num_captions % images:
        raise DataFormatError(_mismatch(features, num_captions))
    if ids is not None and len(ids) != images:
        raise DataFormatError(
            f"{ids_path}: {len(ids)} ids for {images} images and {num_captions} captions ({features.path.name}: {rows} "
            f"rows). Allowed: {images} ids, one an image, or {num_captions}, one a caption."
        )
    return Pairing(
        row_map=None if repeats == 1 else np.arange(0, rows, repeats, dtype=np.int64),
        caption_to_image=np.arange(num_captions, dtype=np.int64) // (num_captions // images),
        image_ids=tuple(ids) if ids is not None else tuple(str(image) for image in range(images)),
    )


def count_repeats(features: RegionFeatures) -> int:
    """How often each image is repeated on consecutive rows: k ≥ 1, the same for all.

    Rows are compared by their first region, in blocks; the first row that differs from both neighbours ends the
    search, so that a set without repetition costs one block. Whole rows are compared for a sample of the rest.

    Args:
        features: Region features, as in the file.

    Returns:
        The greatest k such that rows 0 … k - 1 are equal, k … 2k - 1 are, and so on.
    """
    common = features.num_rows  # the greatest common divisor of all places where a new image begins
    for begin in range(1, features.num_rows, _BLOCK):
        block = features.first_regions(begin - 1, begin + _BLOCK)
        changes = begin + np.flatnonzero((block[1:] != block[:-1]).any(axis=1))
        common = gcd(common, *changes.tolist())
        if common == 1:
            return 1
    repeated = np.flatnonzero(np.arange(features.num_rows) % common)
    return common if _unequal_neighbour(features, repeated) is None else 1


def _pair_by_caption_ids(features: RegionFeatures, ids: list[str], ids_path: Path) -> Pairing:
    groups = group_ids(ids, ids_path)
    first_rows = np.flatnonzero(np.diff(groups, prepend=-1))
    row_map = None
    if features.num_rows == len(ids):
        row_map = first_rows
        repeated = np.setdiff1d(np.arange(len(ids)), first_rows)
        if (row := _unequal_neighbour(features, repeated)) is not None:
            raise DataFormatError(
                f"{ids_path}: image id {ids[row]!r} is on lines {row} and {row + 1}, but rows {row - 1} and {row} of "
                f"{features.path.name} differ. With as many ids as rows ({len(ids)}), an id may only repeat where the "
                "row does: give every image its own id, or repeat its row unchanged."
            )
    elif features.num_rows != len(first_rows):
        raise DataFormatError(
            f"{ids_path}: {len(ids)} ids, one a caption, name {len(first_rows)} images; {features.path} holds "
            f"{features.num_rows} rows. Allowed: one row an image ({len(first_rows)}) or one a caption ({len(ids)})."
        )
    return Pairing(row_map, groups, tuple(ids[row] for row in first_rows))


def _unequal_neighbour(features: RegionFeatures, rows: npt.NDArray[np.int64]) -> int | None:
    """First of a sample of these rows that differs from the row before it; ``None`` if all agree."""
    if len(rows) > SAMPLED_ROWS:
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLED_ROWS).astype(np.int64))]
    return next((int(row) for row in rows if not np.array_equal(*features.read(np.array([row - 1, row])))), None)


def _repeats(ids: list[str]) -> bool:
    return any(first == second for first, second in pairwise(ids))


def _mismatch(features: RegionFeatures, num_captions: int) -> str:
    rows = features.num_rows
    return (
        f"{features.path}: {rows} rows do not fit {num_captions} captions. Allowed: N·k captions for N images (k lines "
        f"an image, the same k for all: {rows}, {2 * rows}, …); any number an image, with one id a caption in an "
        "_ids.txt file; or rows repeated once a caption, as many rows as captions."
    )
