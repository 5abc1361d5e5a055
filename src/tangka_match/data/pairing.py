"""Assignment of captions to images, for all variants of the precomp layout."""

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
"""Number of rows whose first regions are compared at once."""


@dataclass(frozen=True, eq=False)
class Pairing:
    """Images of a split and the captions that belong to them.

    Args:
        row_map: File row of each image, (N,); ``None`` if row n is image n.
        caption_to_image: Image index of each caption, (C,) int64.
        image_ids: Ids of N images; the image index as text if no ids are given.
    """

    row_map: npt.NDArray[np.int64] | None
    caption_to_image: npt.NDArray[np.int64]
    image_ids: tuple[str, ...]


def pair(features: RegionFeatures, num_captions: int, ids: list[str] | None, ids_path: Path | None) -> Pairing:
    """Assign each caption to its image.

    With M rows of features and C captions, there are four layouts: k captions per image (C = M·k), one id per caption
    (any number of captions per image), and both of these with images repeated per caption (M = C), where the first
    row of each image is used. Without ids, repeated images are detected if every image has the same number of captions.

    Args:
        features: Region features as in the file.
        num_captions: Number of captions, C.
        ids: Lines of the id file, or ``None``.
        ids_path: Id file, for messages.

    Raises:
        DataFormatError: If the numbers of rows, captions and ids are inconsistent.
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
            f"rows). Allowed: {images} ids (one per image) or {num_captions} (one per caption)."
        )
    return Pairing(
        row_map=None if repeats == 1 else np.arange(0, rows, repeats, dtype=np.int64),
        caption_to_image=np.arange(num_captions, dtype=np.int64) // (num_captions // images),
        image_ids=tuple(ids) if ids is not None else tuple(str(image) for image in range(images)),
    )


def count_repeats(features: RegionFeatures) -> int:
    """Count how often each image is repeated on consecutive rows: k >= 1, the same for all images.

    The first regions of the rows are compared in blocks until a row differs from both neighbours, so that a set without
    repetition reads one block. Complete rows are compared for a sample of the repeated rows.

    Args:
        features: Region features as in the file.

    Returns:
        The largest k such that rows 0 … k - 1 are equal, rows k … 2k - 1 are equal, and so on.
    """
    common = features.num_rows  # greatest common divisor of the rows at which a new image starts
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
                f"{features.path.name} differ. With as many ids as rows ({len(ids)}), equal ids need equal rows: give "
                "every image its own id, or repeat its row unchanged."
            )
    elif features.num_rows != len(first_rows):
        raise DataFormatError(
            f"{ids_path}: {len(ids)} ids, one per caption, name {len(first_rows)} images; {features.path} has "
            f"{features.num_rows} rows. Allowed: one row per image ({len(first_rows)}) or per caption ({len(ids)})."
        )
    return Pairing(row_map, groups, tuple(ids[row] for row in first_rows))


def _unequal_neighbour(features: RegionFeatures, rows: npt.NDArray[np.int64]) -> int | None:
    """Return the first of a sample of these rows that differs from the row before it, or ``None``."""
    if len(rows) > SAMPLED_ROWS:
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLED_ROWS).astype(np.int64))]
    return next((int(row) for row in rows if not np.array_equal(*features.read(np.array([row - 1, row])))), None)


def _repeats(ids: list[str]) -> bool:
    return any(first == second for first, second in pairwise(ids))


def _mismatch(features: RegionFeatures, num_captions: int) -> str:
    rows = features.num_rows
    return (
        f"{features.path}: {rows} rows do not fit {num_captions} captions. Allowed: k captions per image, the same k "
        f"for all images ({rows}, {2 * rows}, … captions); any number per image, with one id per caption in an "
        "_ids.txt file; or images repeated per caption, as many rows as captions."
    )
