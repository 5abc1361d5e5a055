"""Decode picture files to 8-bit RGB, whatever their depth, colours and orientation."""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

PICTURE_FAULTS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""Errors of Pillow and `open_picture` for a file that is missing, damaged or no picture."""

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Modes of Pillow with more than 8 bits per pixel; ``convert("RGB")`` would cut them off at 255, which is white."""


def open_picture(path: Path | BinaryIO) -> Image.Image:
    """Decode a picture to RGB, rotated by its EXIF orientation, with transparent areas on white.

    16-bit pictures are scaled by their full range. Pictures of 32-bit integers or floats have no fixed range: values in
    [0, 1], [0, 255] and [0, 65535] are taken as such, others are scaled from their minimum to their maximum.

    Args:
        path: Path, or open file.

    Raises:
        OSError: If the file is missing, cut off, or of an unknown format.
        ValueError: If it holds NaN or Inf, or its colours cannot be converted.
    """
    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode in _DEEP_MODES:
            return Image.fromarray(_eight_bits(np.asarray(upright), upright.mode)).convert("RGB")
        if not upright.has_transparency_data:
            return upright.convert("RGB")
        opaque = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(opaque, upright.convert("RGBA")).convert("RGB")


def _eight_bits(values: npt.NDArray[Any], mode: str) -> npt.NDArray[np.uint8]:
    """Scale grey values to 0 to 255, (height, width)."""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high):
        raise ValueError("the picture holds NaN or Inf")
    if mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    elif mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 255.0 if high <= 255 else 65535.0
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.rint((values.astype(np.float64) - low) * scale).astype(np.uint8)
