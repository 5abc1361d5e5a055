"""Single training steps of every model with every loss, without Lightning's trainer, on any device."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from helpers.kernels import lone_trainer
from helpers.random_pairs import random_pairs
from helpers.small_matchers import SMALL, small_matcher
from helpers.small_runs import small_module
from tangka_match.losses import (
    AlignmentUniformityLoss,
    BlendLoss,
    CurriculumLoss,
    HALLoss,
    InfoNCELoss,
    MomentumQueueLoss,
    MultiPositiveInfoNCELoss,
    SigmoidLoss,
    SoftLabelLoss,
    TripletMarginLoss,
    WordPredictionLoss,
)
from tangka_match.training.module import MatchingModule
from tangka_match.types import RegionTextBatch

TOKENS_ONLY = {"scan_t2i", "scan_i2t", "cross_modal_transformer"}
POOLED: dict[str, Callable[[], nn.Module]] = {
    "alignment_uniformity": AlignmentUniformityLoss,
    "momentum_queue": lambda: MomentumQueueLoss(embed_dim=8, queue_size=12),
    "word_prediction": lambda: WordPredictionLoss(embed_dim=8, num_words=40),
}
LOSSES: dict[str, Callable[[], nn.Module]] = {
    "info_nce": InfoNCELoss,
    "multi_positive": MultiPositiveInfoNCELoss,
    "soft_label": SoftLabelLoss,
    "sigmoid": SigmoidLoss,
    "hal": HALLoss,
    "triplet": TripletMarginLoss,
    "curriculum": lambda: CurriculumLoss(until=0.5),
    "blend": lambda: BlendLoss({"a": InfoNCELoss(), "b": TripletMarginLoss()}, {"a": 1.0, "b": [0.0, 1.0]}),
}
PAIRS = [(model, loss) for model in SMALL for loss in LOSSES | ({} if model in TOKENS_ONLY else POOLED)]


def batch_of(device: torch.device | str = "cpu") -> RegionTextBatch:
    """Return five pairs of captions of different lengths."""
    data = random_pairs(1, images=5, captions=5, words=7)
    index, lengths = torch.arange(5), tuple(data.token_mask.sum(1).tolist())
    tensors = (part.to(device) for part in (*data, index, index, index % 4))
    return RegionTextBatch(*tensors, lengths=lengths)


def module_of(model: str | nn.Module, loss: str, device: torch.device | str = "cpu", **settings: Any) -> MatchingModule:
    """Return a module with a fake trainer, at a step that is not logged."""
    matcher = small_matcher(model) if isinstance(model, str) else model
    module = small_module(matcher, (LOSSES | POOLED)[loss](), **settings).to(device)
    module.train()
    module.trainer = lone_trainer()
    return module


def step(module: MatchingModule, batch: RegionTextBatch) -> Tensor:
    """Run forward and backward, clip the gradients, and return the loss."""
    loss = module.training_step(batch, 0)
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    return loss
