"""Checked reading of region features, with region masks and boxes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tangka_match.data.features import Features, RegionFeatures
from tangka_match.data.npy import read_npy_header
from tangka_match.errors import DataFormatError


def read_boxes(path: Path, num_images: int, num_regions: int) -> npt.NDArray[np.float32]:
    """Read region boxes.

    Args:
        path: File ``.npy`` of shape (N, R, 4): left, top, right, bottom, relative to the image size, in [0, 1].
        num_images: Number of rows of the features, N.
        num_regions: Regions per image, R.

    Returns:
        Boxes (N, R, 4) float32.

    Raises:
        DataFormatError: If the shape differs, or a box is outside the image or inverted.
    """
    header = read_npy_header(path)
    wanted = (num_images, num_regions, 4)
    if header.shape != wanted or header.dtype.kind != "f":
        raise DataFormatError(
            f"{path}: boxes must be {wanted} floats, one box for each region of the features; "
            f"found shape {header.shape}, dtype {header.dtype.str}. Remove the file if there are no boxes."
        )
    boxes: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    inside = ((boxes >= 0) & (boxes <= 1)).all(axis=-1)
    upright = (boxes[..., :2] <= boxes[..., 2:]).all(axis=-1)
    bad = np.argwhere(~(inside & upright))
    if len(bad):
        row, region = bad[0]
        raise DataFormatError(
            f"{path}: row {row}, region {region}: box {boxes[row, region].tolist()} ({len(bad):,} such boxes). "
            "Boxes must be left, top, right, bottom in [0, 1] with left <= right and top <= bottom; divide pixels by "
            "the width and height of the image."
        )
    return boxes.astype(np.float32)


def real_regions(regions: npt.NDArray[np.floating[Any]]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Compute the masks of real (not all-zero) and of finite regions in one pass.

    The bits of an IEEE number without its sign, read as an integer, increase with its magnitude, Inf and NaN last. The
    largest integer of a region is 0 only for padding, and at least that of Inf only if a value is not finite. For
    float16 this is 5 times as fast as ``np.isfinite``.

    Args:
        regions: Region features (B, R, F), float16 or float32.

    Returns:
        Two masks (B, R): ``True`` = real region (any value other than zero), ``True`` = finite region.

    >>> real, finite = real_regions(np.array([[[1, -2], [0, 0], [np.nan, 1]]], dtype=np.float16))
    >>> real.tolist(), finite.tolist()
    ([[True, False, True]], [[True, True, False]])
    """
    integer = np.uint16 if regions.dtype == np.float16 else np.uint32
    infinity = np.array(np.inf, regions.dtype).view(integer)
    peaks = (regions.view(integer) & np.array(np.iinfo(integer).max >> 1, integer)).max(axis=-1)
    return peaks > 0, peaks < infinity


def read_regions(
    features: Features, rows: npt.NDArray[np.int64], image_ids: Sequence[str]
) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.bool_]]:
    """Read and check the regions of images.

    Args:
        features: Region features of a split.
        rows: Image indices, (B,).
        image_ids: Ids of all images of the split, for messages.

    Returns:
        Regions (B, R, F) as stored, and their mask (B, R), ``False`` = padding (all-zero region).

    Raises:
        DataFormatError: If a value is NaN or infinite, or an image has no real region.
    """
    regions = features.read(rows)
    mask, finite = real_regions(regions)
    if not finite.all():
        bad_images = np.flatnonzero(~finite.all(axis=1))
        first = bad_images[np.argmin(rows[bad_images])]
        count = int(np.count_nonzero(~np.isfinite(regions)))
        raise DataFormatError(
            f"{_where(features, int(rows[first]), image_ids)}, region {int(np.argmin(finite[first]))}: NaN or Inf; "
            f"{count:,} such values in {len(bad_images)} of the {len(rows)} images read. "
            "Features must be finite: extract this image again, or check for an overflow on conversion to float16."
        )
    if not mask.any(axis=1).all():
        bad_images = rows[~mask.any(axis=1)]
        raise DataFormatError(
            f"{_where(features, int(bad_images.min()), image_ids)}: all {features.num_regions} regions are zeros; "
            f"{len(bad_images)} such images in the {len(rows)} read. An all-zero region is padding, and an image needs "
            "at least one real region: extract it again, or remove it and its captions."
        )
    return regions, mask


def check_sample(features: RegionFeatures, image_ids: Sequence[str]) -> None:
    """Read and check a sample of the images, so that most damage is reported before training starts.

    Args:
        features: Region features of a split.
        image_ids: Ids of all its images.

    Raises:
        DataFormatError: If a sampled image is damaged, as in ``read_regions``.
    """
    read_regions(features, features.sample_indices(), image_ids)


def _where(features: Features, image: int, image_ids: Sequence[str]) -> str:
    path, row = features.origin(image)
    return f"{path}: row {row} (image id {image_ids[image]!r})"
