"""Base of the vision towers that encode pictures: input pixels, and a grid of cells with boxes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor, nn

from tangka_match.errors import ConfigError


class PictureTower(nn.Module, ABC):
    """Encoder of pictures to region features.

    Args:
        processor: Image processor of transformers: its normalisation and its filter for resizing are used.
        image_size: Input size, in pixels per side.
    """

    grid: int
    side: int

    def __init__(self, processor: Any, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size
        self._prepare = processor

    @property
    @abstractmethod
    def num_regions(self) -> int:
        """Regions per picture, R."""

    @property
    @abstractmethod
    def feature_dim(self) -> int:
        """Dimensions of a region, F."""

    @abstractmethod
    def boxes(self) -> npt.NDArray[np.float32]:
        """Return the boxes of the regions, (R, 4), x1 y1 x2 y2 in [0, 1]."""

    def pixels(self, pictures: Iterable[Any]) -> Float[Tensor, "B 3 height width"]:
        """Resize Pillow images to a square without cropping, and normalise them."""
        size = (self.image_size, self.image_size)
        resized = [picture.resize(size, self._prepare.resample) for picture in pictures]
        return self._prepare(resized, do_resize=False, do_center_crop=False, return_tensors="pt")["pixel_values"]

    def input_settings(self) -> dict[str, Any]:
        """Return what determines the input pixels, as plain values: size, filter, scale, mean, standard deviation."""
        prepare = self._prepare
        return {
            "image_size": self.image_size,
            "resample": int(prepare.resample),
            "rescale_factor": float(prepare.rescale_factor) if prepare.do_rescale else None,
            "mean": [float(value) for value in prepare.image_mean] if prepare.do_normalize else None,
            "std": [float(value) for value in prepare.image_std] if prepare.do_normalize else None,
        }

    def cell_boxes(self) -> npt.NDArray[np.float32]:
        """Return the boxes of the cells row by row, (grid², 4).

        A cell covers whole patches, so that cells overlap if the grid does not divide the patches.
        """
        first = [cell * self.side // self.grid / self.side for cell in range(self.grid)]
        last = [-(-(cell + 1) * self.side // self.grid) / self.side for cell in range(self.grid)]
        cells = [(first[x], first[y], last[x], last[y]) for y in range(self.grid) for x in range(self.grid)]
        return np.array(cells, dtype=np.float32)

    def _set_grid(self, *, side: int, grid: int, source: str) -> None:
        if not 1 <= grid <= side:
            raise ConfigError(f"grid={grid}: allowed are 1 to {side}, the patches along a side of {source}")
        self.side, self.grid = side, grid


def pool_grid(patches: Float[Tensor, "B F height width"], grid: int) -> Float[Tensor, "B cells F"]:
    """Average patches within the cells of a grid, row by row."""
    return nn.functional.adaptive_avg_pool2d(patches, grid).flatten(2).transpose(1, 2)
