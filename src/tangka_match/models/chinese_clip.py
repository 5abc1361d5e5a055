"""ChineseCLIP matcher, and the vision tower that extracts its features."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.hub import library, load_model, read_config
from tangka_match.models.layers import check_regions, check_sizes
from tangka_match.models.picture_grid import PictureTower, pool_grid
from tangka_match.models.text_tower import (
    TextTower,
    copy_weights,
    on_meta_device,
    read_encoder,
    read_rows,
    resolve_config,
)
from tangka_match.ops import at_least_float32, dot_products, l2_normalise, masked_max
from tangka_match.types import Encoded


class ChineseCLIP(nn.Module):
    """Text tower of a Chinese-CLIP, on images that its vision tower has encoded.

    Features come from ``python -m tangka_match.extract``: the first region is the whole picture, the others are cells
    of a grid, all in the joint space. The image vector is that of the whole picture plus a linear projection of the
    max-pooled regions. The projection starts at zero, so that the untrained matcher scores as Chinese-CLIP does
    zero-shot (Yang et al., "Chinese CLIP", arXiv 2211.01335).

    Args:
        vocab_size: Number of words in the vocabulary: all word pieces of the text tower (``data/tokenizer=pieces``).
        feature_dim: Dimensions of a region feature and of the joint space.
        num_regions: Number of regions per image; any number works.
        text_model: Folder of the Chinese-CLIP, or its name on the Hugging Face hub.
        text_config: Its config, which a checkpoint stores in place of ``text_model``; the weights are then random until
            those of the checkpoint are loaded.
        text_lr_multiplier: Learning rate of the text tower and its projection, as a multiple of the optimizer's.
        thaw_at: Share of the run during which the text tower is frozen; 0 = never, 1 = always.

    Raises:
        ConfigError: If a number is out of range, or the model cannot be read, is not a Chinese-CLIP, or does not fit
            the vocabulary or the features.
    """

    whole_picture_first = True

    @check_sizes
    def __init__(
        self,
        *,
        vocab_size: int,
        feature_dim: int,
        num_regions: int = 36,
        text_model: str | None = None,
        text_config: dict[str, Any] | None = None,
        text_lr_multiplier: float | int = 0.1,
        thaw_at: float | int = 0.0,
    ) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self._config = resolve_config(text_model, text_config)
        self._check_kind(text_model)
        self.text_tower = TextTower(self._config, vocab_size, text_lr_multiplier, thaw_at)
        self.text_projection = nn.Linear(self.text_tower.width, self._config["projection_dim"], bias=False)
        self.patch_projection = nn.Linear(feature_dim, feature_dim, bias=False)
        nn.init.zeros_(self.patch_projection.weight)
        if on_meta_device():
            return  # trial construction with placeholder sizes
        if feature_dim != self._config["projection_dim"]:
            raise ConfigError(
                f"ChineseCLIP: the features have {feature_dim} dimensions, the joint space of the model has "
                f"{self._config['projection_dim']}: write them with its own vision tower (tangka_match.extract)"
            )
        if text_model is not None:
            rows = read_rows(text_model, vocab_size)
            clip = read_encoder(text_model, self._config)
            copy_weights(self.text_tower.transformer, clip.text_model, rows)
            self.text_projection.load_state_dict(clip.text_projection.state_dict())

    def encode_images(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Encoded:
        """Encode images as L2-normalised vectors, ``pooled``; the first region is the whole picture.

        Raises:
            ShapeError: If the features do not have ``feature_dim`` dimensions.
        """
        check_regions("ChineseCLIP", regions, self.feature_dim)
        whole_picture = regions[:, 0].masked_fill(~region_mask[:, :1], 0.0)
        pooled = whole_picture + self.patch_projection(masked_max(regions, region_mask))
        return Encoded(pooled=l2_normalise(at_least_float32(pooled)))

    def encode_texts(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Encoded:
        """Encode captions as L2-normalised vectors, ``pooled``: the projected ``<start>`` token."""
        pooled = self.text_projection(self.text_tower(token_ids, token_mask)[:, 0])
        return Encoded(pooled=l2_normalise(at_least_float32(pooled)))

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Return the cosine of every image with every caption, (I, C)."""
        assert images.pooled is not None and texts.pooled is not None
        return dot_products(images.pooled, texts.pooled)

    def lr_multipliers(self) -> Mapping[str, float | int]:
        """Return the learning rate of the text tower and its projection, as a multiple of the optimizer's."""
        return dict.fromkeys(("text_tower", "text_projection"), self.text_tower.lr_multiplier)

    def set_progress(self, progress: float) -> None:
        """Freeze or thaw the text tower."""
        self.text_tower.set_progress(progress)

    def checkpoint_arguments(self) -> dict[str, Any]:
        """Replace the folder or name of the pretrained model by its config."""
        return {"text_model": None, "text_config": self._config}

    def _check_kind(self, text_model: str | None) -> None:
        if (kind := self._config.get("model_type")) != "chinese_clip":
            raise ConfigError(
                f"ChineseCLIP: {text_model or 'text_config'} is a model of type {kind!r}; give a Chinese-CLIP, or take "
                "model=bert_vse"
            )


class VisionTower(PictureTower):
    """Vision tower of a Chinese-CLIP: one vector for the whole picture and one per grid cell, not L2-normalised.

    Patches pass the last layer norm and the projection like the class token, for which Chinese-CLIP was not trained:
    they localise content rather than describe it. Pictures are resized to a square without cropping, as in
    Chinese-CLIP.

    Args:
        source: Folder of the Chinese-CLIP, or its name on the Hugging Face hub.
        grid: Number of cells per side; patches are averaged within a cell.

    Raises:
        ConfigError: If the model cannot be read or is not a Chinese-CLIP, or ``grid`` exceeds its patches per side.
    """

    def __init__(self, source: str, grid: int) -> None:
        config = read_config(source)
        if config["model_type"] != "chinese_clip":
            raise ConfigError(f"model={source}: a model of type {config['model_type']!r}; pictures need a Chinese-CLIP")
        vision = config["vision_config"]
        super().__init__(library().ChineseCLIPImageProcessorPil(), vision["image_size"])
        self._set_grid(side=self.image_size // vision["patch_size"], grid=grid, source=source)
        clip = load_model(source, "ChineseCLIPModel")
        self.vision_model = clip.vision_model
        self.projection = clip.visual_projection

    @property
    def num_regions(self) -> int:
        """Regions per picture: the whole, then the cells, 1 + grid²."""
        return 1 + self.grid**2

    @property
    def feature_dim(self) -> int:
        """Dimensions of the joint space, F."""
        return int(self.projection.out_features)

    def boxes(self) -> npt.NDArray[np.float32]:
        """Return the boxes of the regions, (1 + grid², 4): the whole picture, then the cells row by row."""
        return np.concatenate([np.array([[0, 0, 1, 1]], dtype=np.float32), self.cell_boxes()])

    @torch.inference_mode()
    def forward(self, pictures: Iterable[Any]) -> Float[Tensor, "B R F"]:
        """Encode Pillow images; region 0 is the whole picture."""
        pixels = self.pixels(pictures).to(self.projection.weight.device)
        states = self.vision_model(pixel_values=pixels).last_hidden_state
        projected = self.projection(self.vision_model.post_layernorm(states))
        patches = projected[:, 1:].transpose(1, 2).unflatten(2, (self.side, self.side))
        return torch.cat([projected[:, :1], pool_grid(patches, self.grid)], dim=1)
