"""Pretrained models from a folder or the Hugging Face hub: config, word pieces, weights."""

from tangka_match.hub.pieces import SPECIALS, WordPieces
from tangka_match.hub.source import (
    TEXT_TYPES,
    library,
    load_model,
    read_config,
    read_image_processor,
    read_vision_config,
)

__all__ = [
    "SPECIALS",
    "TEXT_TYPES",
    "WordPieces",
    "library",
    "load_model",
    "read_config",
    "read_image_processor",
    "read_vision_config",
]
