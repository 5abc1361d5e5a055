"""Which axis of a stored array holds the dimensions of a region."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from tangka_match.errors import DataFormatError

FeatureAxis = Literal["auto", "last", "first"]
FEATURE_AXES: tuple[str, ...] = get_args(FeatureAxis)

MIN_FIRST, MIN_RATIO = 256, 2
"""The first axis holds the dimensions if it has at least so many entries, and so many times those of the last axis."""


def item_shape(shape: tuple[int, ...], axis: FeatureAxis, where: str) -> tuple[int, int, bool]:
    """Find regions and dimensions of the array of one image.

    Accepted are (F,), (R, F), (F, R), grids (h, w, F) and (F, h, w), each also with a leading axis of one entry.

    Args:
        shape: Shape of the array of one image.
        axis: ``last``, ``first``, or ``auto``, which takes the first axis only if it is much longer than the last one.
        where: File, for messages.

    Returns:
        Regions R, dimensions F, and whether the dimensions are first.

    Raises:
        DataFormatError: If an image has no such shape.

    >>> item_shape((36, 2048), "auto", ""), item_shape((2048, 36), "auto", ""), item_shape((7, 7, 512), "auto", "")
    ((36, 2048, False), (36, 2048, True), (49, 512, False))
    """
    core = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
    if not 1 <= len(core) <= 3 or 0 in core:
        raise DataFormatError(
            f"{where}: shape {shape} per image; allowed: (dimensions,), (regions, dimensions), "
            "(dimensions, regions), or a grid (height, width, dimensions) or (dimensions, height, width)"
        )
    is_first = axis == "first" or (
        axis == "auto" and len(core) > 1 and core[0] >= MIN_FIRST and core[0] >= MIN_RATIO * core[-1]
    )
    is_first = is_first and len(core) > 1
    dim = core[0] if is_first else core[-1]
    return int(np.prod(core)) // dim, dim, is_first


def as_regions(array: npt.NDArray[np.floating], *, first: bool) -> npt.NDArray[np.floating]:
    """Reshape the array of one image to (R, F).

    Args:
        array: Array of a shape that `item_shape` accepts.
        first: Whether the dimensions are on the first axis.
    """
    core = array[0] if array.ndim > 1 and array.shape[0] == 1 else array
    return core.reshape(len(core), -1).T if first else core.reshape(-1, core.shape[-1])
