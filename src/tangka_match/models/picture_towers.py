"""Vision towers that encode pictures as grids of region features: any vision model that transformers loads.

The vision tower of a Chinese-CLIP, which projects to the joint space, is `models.chinese_clip.VisionTower`.
"""

from collections.abc import Iterable
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.hub import load_model, read_image_processor, read_vision_config
from tangka_match.models.chinese_clip import VisionTower
from tangka_match.models.picture_grid import PictureTower, pool_grid


def load_tower(source: str, grid: int) -> PictureTower:
    """Load the encoder of pictures for a model.

    Args:
        source: Folder of a vision model, or its name on the Hugging Face hub.
        grid: Number of cells per side.

    Returns:
        `VisionTower` for a Chinese-CLIP, `GridTower` for any other model.

    Raises:
        ConfigError: If the model cannot be read or does not encode pictures, or ``grid`` is out of range.
    """
    kind = read_vision_config(source)["model_type"]
    return (VisionTower if kind == "chinese_clip" else GridTower)(source, grid).eval()


class GridTower(PictureTower):
    """Vision model whose patches or feature map, averaged over the cells of a grid, are the regions.

    Features are the last hidden state (``last_hidden_state`` of transformers), not L2-normalised. Class and register
    tokens are dropped. Pictures are normalised by the image processor of the model folder, and resized to its input
    size without cropping, so that the boxes cover the whole picture.

    Args:
        source: Folder of the model, or its name on the Hugging Face hub: DINOv2, CLIP, SigLIP, ConvNeXt, ResNet, ViT
            and others; of a model for pictures and text, the vision tower is used.
        grid: Number of cells per side; patches are averaged within a cell.

    Raises:
        ConfigError: If the model cannot be read or does not encode pictures as a map or as patches, or ``grid``
            exceeds its patches per side.
    """

    def __init__(self, source: str, grid: int) -> None:
        config = read_vision_config(source)
        processor = read_image_processor(source)
        super().__init__(processor, _input_size(processor, source))
        model = load_model(source, "AutoModel")
        self.vision_model = getattr(model, "vision_model", model)
        self.source = source
        vision = config.get("vision_config") or config
        self._patch_size = vision.get("patch_size")
        self._prefixes = {0, 1, 2, 1 + (vision.get("num_register_tokens") or 0)}  # DeiT has two tokens before patches
        blank = Image.new("RGB", (self.image_size, self.image_size))
        try:
            found = self._encode_map([blank])
        except (TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise ConfigError(
                f"encoder={source}: a {config['model_type']} does not encode a picture ({error})"
            ) from error
        self._set_grid(side=found.shape[-1], grid=grid, source=source)
        self._feature_dim = int(found.shape[1])

    @property
    def num_regions(self) -> int:
        """Regions per picture: the cells, grid²."""
        return self.grid**2

    @property
    def feature_dim(self) -> int:
        """Dimensions of the last hidden state, F."""
        return self._feature_dim

    def boxes(self) -> npt.NDArray[np.float32]:
        """Return the boxes of the cells, (grid², 4), row by row; see `PictureTower.cell_boxes`."""
        return self.cell_boxes()

    @torch.inference_mode()
    def forward(self, pictures: Iterable[Any]) -> Float[Tensor, "B R F"]:
        """Encode Pillow images, which are resized one by one as they arrive."""
        return pool_grid(self._encode_map(pictures), self.grid)

    @torch.inference_mode()
    def _encode_map(self, pictures: Iterable[Any]) -> Float[Tensor, "B F side side"]:
        pixels = self.pixels(pictures).to(next(self.vision_model.parameters()).device)
        states = self.vision_model(pixel_values=pixels).last_hidden_state
        if states.ndim == 4:
            return states
        tokens = states.shape[1]
        side = self.image_size // self._patch_size if isinstance(self._patch_size, int) else isqrt(tokens)
        if tokens < side**2:  # stages that merge patches, as in Swin
            side = isqrt(tokens)
        first = tokens - side**2
        if first not in self._prefixes:
            raise ValueError(
                f"{tokens} tokens of a {self.image_size} x {self.image_size} picture are no square of patches"
            )
        return states[:, first:].transpose(1, 2).unflatten(2, (side, side))


def _input_size(processor: Any, source: str) -> int:
    """Return the input size of a model, in pixels per side."""
    sizes = [processor.crop_size] if getattr(processor, "do_center_crop", False) else []
    for size in (*sizes, processor.size):
        edge = (size or {}).get("height") or (size or {}).get("shortest_edge")
        if edge:
            return int(edge)
    raise ConfigError(
        f"encoder={source}: preprocessor_config.json gives no input size (size={processor.size!r}); set size to "
        '{"height": <pixels>, "width": <pixels>} there'
    )
