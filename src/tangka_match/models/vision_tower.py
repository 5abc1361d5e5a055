"""The vision tower of a Chinese-CLIP: pictures to vectors in its joint space."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.hub import library, load_model, read_config


class VisionTower(nn.Module):
    """Pictures to the vector of the whole and those of a grid of patches, all projected, none L2-normalised.

    A patch goes through the last layer norm and the projection as the whole does, which Chinese-CLIP was not trained
    for: patches say where something is, the whole says what it means. Pictures are squeezed into a square, as
    Chinese-CLIP does it, so that the grid covers all of them.

    Args:
        source: Folder of the Chinese-CLIP, or its name on the Hugging Face hub.
        grid: Cells along each side; patches are averaged within a cell.

    Raises:
        ConfigError: The model cannot be read or is no Chinese-CLIP, or ``grid`` is finer than its patches.
    """

    def __init__(self, source: str, grid: int) -> None:
        super().__init__()
        config = read_config(source)
        if config["model_type"] != "chinese_clip":
            raise ConfigError(f"model={source}: a model of type {config['model_type']!r}; pictures need a Chinese-CLIP")
        vision = config["vision_config"]
        self.image_size: int = vision["image_size"]
        self.side: int = self.image_size // vision["patch_size"]
        if not 1 <= grid <= self.side:
            raise ConfigError(f"grid={grid}: allowed are 1 to {self.side}, the patches along a side of {source}")
        self.grid = grid
        clip = load_model(source, "ChineseCLIPModel")
        self.vision_model = clip.vision_model
        self.projection = clip.visual_projection
        self._prepare: Any = library().ChineseCLIPImageProcessorPil()

    @property
    def feature_dim(self) -> int:
        """F, dimensions of the joint space."""
        return int(self.projection.out_features)

    def boxes(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(1 + G·G, 4) boxes of the regions, x1 y1 x2 y2 in [0, 1]: the whole, then the cells row by row.

        A cell is whole patches: neighbours overlap where the grid does not divide the patches.
        """
        first = [cell * self.side // self.grid / self.side for cell in range(self.grid)]
        last = [-(-(cell + 1) * self.side // self.grid) / self.side for cell in range(self.grid)]
        cells = [(first[x], first[y], last[x], last[y]) for y in range(self.grid) for x in range(self.grid)]
        return np.array([(0, 0, 1, 1), *cells], dtype=np.float32)

    @torch.inference_mode()
    def forward(self, pictures: list[Any]) -> Float[Tensor, "B R F"]:
        """Encode Pillow pictures; region 0 is the whole."""
        size = {"height": self.image_size, "width": self.image_size}
        pixels = self._prepare(pictures, size=size, do_center_crop=False, return_tensors="pt")["pixel_values"]
        states = self.vision_model(pixel_values=pixels.to(self.projection.weight.device)).last_hidden_state
        projected = self.projection(self.vision_model.post_layernorm(states))
        patches = projected[:, 1:].transpose(1, 2).unflatten(2, (self.side, self.side))
        cells = nn.functional.adaptive_avg_pool2d(patches, self.grid).flatten(2).transpose(1, 2)
        return torch.cat([projected[:, :1], cells], dim=1)
