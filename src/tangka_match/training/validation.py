"""The scores of the whole validation gallery, outside of Lightning's loop."""

from typing import Any

import torch
from torch import Tensor

from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.retrieval import encode_caption_batches, encode_image_batches, score_matrix
from tangka_match.training.module import MatchingModule


def validation_similarity(module: MatchingModule, data: RegionTextDataModule, device: torch.device) -> Tensor:
    """Score the whole validation gallery, images × captions, with the module's present weights, in float32.

    Args:
        module: Its matcher is moved to ``device``.
        data: Set up.
        device: Where to compute.
    """
    matcher: Any = module.matcher.to(device).eval()
    image_loader, caption_loader = data.val_dataloader()
    images = encode_image_batches(matcher, image_loader, device)
    texts = encode_caption_batches(matcher, caption_loader, device)
    return score_matrix(matcher, images, texts)
