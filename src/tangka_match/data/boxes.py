"""Region boxes: checked whole when opened, since they are small beside the features."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tangka_match.data.npy import read_npy_header
from tangka_match.errors import DataFormatError


def read_boxes(path: Path, num_images: int, num_regions: int) -> npt.NDArray[np.float32]:
    """Read where in its image each region lies.

    Args:
        path: A ``.npy`` file, (N, R, 4): left, top, right, bottom, as shares of the image's width and height in [0, 1].
        num_images: N, rows of the features in file order.
        num_regions: R.

    Returns:
        (N, R, 4) float32.

    Raises:
        DataFormatError: If the shape is another, or a box is not within the image or is turned inside out.
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
            "Boxes are left, top, right, bottom with left ≤ right and top ≤ bottom, all in [0, 1]; divide pixels by "
            "the image's width and height."
        )
    return boxes.astype(np.float32)
