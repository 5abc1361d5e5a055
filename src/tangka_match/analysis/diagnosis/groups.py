"""What belongs together in a split."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Groups(NamedTuple):
    """What belongs together in a split of I images and C captions.

    Attributes:
        images: (I,) equal for images that are nearly the same.
        same_images: (I,) equal for images that are the same.
        captions: (C,) equal for captions of the same text.
        told: Pairs of a caption and an image of its group that it does not fit; see ``told_apart``.
    """

    images: npt.NDArray[np.int64]
    same_images: npt.NDArray[np.int64]
    captions: npt.NDArray[np.int64]
    told: frozenset[tuple[int, int]] = frozenset()
