"""Folders of tiny vision models with random weights; tests that use them are skipped without transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch

SIZE = 32
"""Input size, in pixels per side."""
_TRANSFORMER: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": 8,
}
_STAGES: dict[str, Any] = {"hidden_sizes": [8, 16], "depths": [1, 1]}
_CROP = {"shortest_edge": SIZE + 8}
MODELS: dict[str, tuple[str, str, dict[str, Any], str, dict[str, Any], int]] = {
    "dinov2": ("Dinov2Config", "Dinov2Model", _TRANSFORMER, "BitImageProcessorPil", {"size": _CROP}, 4),
    "dinov2_registers": (
        "Dinov2WithRegistersConfig",
        "Dinov2WithRegistersModel",
        _TRANSFORMER,
        "BitImageProcessorPil",
        {"size": _CROP},
        4,
    ),
    "clip_vision": ("CLIPVisionConfig", "CLIPVisionModel", _TRANSFORMER, "CLIPImageProcessorPil", {"size": _CROP}, 4),
    "siglip_vision": ("SiglipVisionConfig", "SiglipVisionModel", _TRANSFORMER, "SiglipImageProcessorPil", {}, 4),
    "vit": ("ViTConfig", "ViTModel", _TRANSFORMER, "ViTImageProcessorPil", {}, 4),
    "convnext": (
        "ConvNextConfig",
        "ConvNextModel",
        {**_STAGES, "num_stages": 2, "patch_size": 4},
        "ConvNextImageProcessorPil",
        {"size": {"shortest_edge": SIZE}},
        4,
    ),
    "resnet": (
        "ResNetConfig",
        "ResNetModel",
        {**_STAGES, "embedding_size": 8, "layer_type": "basic"},
        "ConvNextImageProcessorPil",
        {"size": {"shortest_edge": SIZE}},
        4,
    ),
}
"""Kind -> config class, its arguments, model class, image processor, its arguments, patches per side."""


def write_vision_model(folder: Path, kind: str) -> Path:
    """Write a vision model of about two layers and its image processor, for pictures of 32 × 32 pixels."""
    transformers = pytest.importorskip("transformers")
    config, model, arguments, processor, processing, _ = MODELS[kind]
    torch.manual_seed(1)
    network = getattr(transformers, model)(getattr(transformers, config)(**arguments))
    for name, value in network.named_buffers():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
    network.save_pretrained(folder)
    crop = {"crop_size": {"height": SIZE, "width": SIZE}} if processing.get("size") == _CROP else {}
    size = processing or {"size": {"height": SIZE, "width": SIZE}}
    getattr(transformers, processor)(**size, **crop).save_pretrained(folder)
    return folder
