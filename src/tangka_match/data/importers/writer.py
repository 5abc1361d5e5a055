"""Write a split in the precomp layout, image by image, in bounded memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tangka_match.data.importers.caption_text import CaptionedImage
from tangka_match.data.importers.source import FeatureSource, progress
from tangka_match.data.layout import BOXES_SUFFIX, CAPTIONS_SUFFIX, FEATURES_SUFFIX, IDS_SUFFIX
from tangka_match.data.npy import reserve_npy, save_npy
from tangka_match.data.regions import real_regions
from tangka_match.errors import DataFormatError

MAX_LISTED = 20
"""Most damaged images that a message lists."""


def write_split(
    folder: Path,
    stem: str,
    images: Sequence[CaptionedImage],
    features: FeatureSource,
    source: npt.NDArray[np.int64],
    *,
    regions: int,
    dtype: np.dtype[Any],
) -> bool:
    """Write ``<stem>_ims.npy``, ``_caps.txt``, ``_ids.txt`` and, if all images have boxes, ``_boxes.npy``.

    Args:
        folder: Existing folder.
        stem: ``train``, ``dev`` or ``test``.
        images: N images, in the order to write them.
        features: Features.
        source: Index of each image among the features, (N,).
        regions: Regions per image to write, R; images with fewer are padded with zeros.
        dtype: float16 or float32.

    Returns:
        Whether boxes were written.

    Raises:
        DataFormatError: If features are not finite, too large for float16, or all zero; the message lists the images.
    """
    shape = (len(images), regions, features.dim)
    row_bytes = regions * features.dim * dtype.itemsize
    path = folder / f"{stem}{FEATURES_SUFFIX}"
    offset = reserve_npy(path, shape, dtype)
    boxes: npt.NDArray[np.float32] | None = np.zeros((len(images), regions, 4), dtype=np.float32)
    order = np.argsort(source, kind="stable")
    row = np.zeros((regions, features.dim), dtype=dtype)
    faults: list[str] = []
    bar, task = progress(len(images), f"writing {stem}")
    with bar, path.open("r+b") as file:
        for place, found in zip(order.tolist(), features.read(source[order]), strict=True):
            count = len(found.regions)
            row[count:] = 0
            with np.errstate(over="ignore"):
                row[:count] = found.regions
            if fault := _fault(row[:count], found.regions):
                faults.append(f"{images[place].names[0]}: {fault}")
            file.seek(offset + place * row_bytes)
            file.write(row.data)
            if found.boxes is None:
                boxes = None
            elif boxes is not None:
                boxes[place, :count] = found.boxes
            bar.advance(task)
    if faults:
        raise DataFormatError(_message(faults, len(images)))
    _write_lines(folder / f"{stem}{CAPTIONS_SUFFIX}", [caption for image in images for caption in image.captions])
    _write_lines(folder / f"{stem}{IDS_SUFFIX}", [image.names[0] for image in images for _ in image.captions])
    if boxes is not None:
        save_npy(folder / f"{stem}{BOXES_SUFFIX}", boxes)
    return boxes is not None


def _fault(stored: npt.NDArray[np.floating], read: npt.NDArray[np.floating]) -> str | None:
    real, finite = real_regions(stored[None])
    if not finite.all():
        return "too large for float16" if np.isfinite(read).all() else "NaN or Inf"
    return None if real.any() else "all zeros"


def _message(faults: Sequence[str], total: int) -> str:
    more = f"\n  and {len(faults) - MAX_LISTED:,} more" if len(faults) > MAX_LISTED else ""
    too_large = any(fault.endswith("float16") for fault in faults)
    advice = "set dtype=float32" if too_large else "extract these images again, or remove them from the captions"
    listed = "\n  ".join(faults[:MAX_LISTED])
    return f"features: {len(faults):,} of {total:,} images cannot be trained on; {advice}:\n  {listed}{more}"


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
