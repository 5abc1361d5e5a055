"""Hooks around the loss of a training step, and the momentum encoder, which is one of them."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from tangka_match.losses import ContextualLoss, LossInputs, LossTerms, MatchingLoss, MomentumKeys
from tangka_match.training.encoding import encode_texts
from tangka_match.types import Encoded, RegionTextBatch


class TrainingStep(NamedTuple):
    """Data of a training step that a loss hook may read.

    Attributes:
        matcher: The model in training.
        loss: The matching loss.
        batch: Pairs of this process, before augmentation.
        image_index: Image index of each pair of the global batch, (B,).
        caption_index: Caption index of each pair of the global batch, (B,).
        text_group: Caption text index of each pair of the global batch, (B,).
        gather: Joins encoded items over all processes; the identity in a single process.
        epoch: Current epoch, from 0.
        progress: Completed share of the run's optimizer steps, in [0, 1].
    """

    matcher: nn.Module
    loss: MatchingLoss
    batch: RegionTextBatch
    image_index: Tensor
    caption_index: Tensor
    text_group: Tensor
    gather: Callable[[Encoded], Encoded]
    epoch: int
    progress: float


class LossHook:
    """Base of hooks that change the inputs or the terms of the loss in training.

    A hook that is an ``nn.Module`` is saved with the model's weights, prefixed by ``name``; the ``state_dict`` of any
    other hook is saved in the checkpoint under ``name``, unless it is empty.

    Attributes:
        name: Key in the checkpoint.
    """

    name: str

    def before_loss(self, inputs: LossInputs, step: TrainingStep) -> LossInputs:
        """Return the inputs that the loss is called with."""
        return inputs

    def after_loss(self, terms: LossTerms, inputs: LossInputs, step: TrainingStep) -> LossTerms:
        """Return the terms that are minimised and logged."""
        return terms

    def state_dict(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""


class MomentumEncoder(nn.Module, LossHook):
    r"""Copy of the matcher that follows it slowly, :math:`\theta_k \leftarrow m\,\theta_k + (1 - m)\,\theta`.

    It adds momentum keys to the loss's context, for a queue of negatives: queued keys are comparable with new ones only
    if their encoder changes slowly. The copy stays in evaluation mode, so it applies no dropout and draws no random
    numbers; buffers, such as batch-norm statistics, are copied as they are.

    Source: He et al., "Momentum Contrast" (MoCo), arXiv:1911.05722, eq. 2.

    Args:
        matcher: The model to follow; the copy becomes equal to it at its first step.
        momentum: ``m``, in [0, 1).
    """

    name = "momentum"
    started: Tensor

    def __init__(self, matcher: nn.Module, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.matcher: Any = copy.deepcopy(matcher).requires_grad_(False)
        self.register_buffer("started", torch.tensor(False))
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    def before_loss(self, inputs: LossInputs, step: TrainingStep) -> LossInputs:
        """Follow the matcher, encode the pairs, and add them to the context as keys."""
        assert inputs.context is not None, "a loss that asks for momentum keys needs a context"
        self.follow(step.matcher)
        images, texts = (step.gather(encoded) for encoded in self.encode(step.batch))
        keys = MomentumKeys(images, texts, step.image_index, step.text_group)
        return inputs._replace(context=inputs.context._replace(keys=keys))

    @torch.no_grad()
    def follow(self, matcher: nn.Module) -> None:
        """Take one step towards the matcher's weights."""
        share = torch.where(self.started, 1.0 - self.momentum, 1.0)  # stays on its device
        for weight, its_weight in zip(self.matcher.parameters(), matcher.parameters(), strict=True):
            weight.lerp_(its_weight, share.to(weight.dtype))
        for buffer, its_buffer in zip(self.matcher.buffers(), matcher.buffers(), strict=True):
            buffer.copy_(its_buffer)
        self.started.fill_(True)

    @torch.no_grad()
    def encode(self, batch: RegionTextBatch) -> tuple[Encoded, Encoded]:
        """Encode images and captions; only pooled embeddings are kept if the matcher has them."""
        images = self.matcher.encode_images(batch.regions.float(), batch.region_mask)
        texts = encode_texts(self.matcher, batch.token_ids, batch.token_mask, batch.lengths)
        return tuple(e if e.pooled is None else Encoded(pooled=e.pooled) for e in (images, texts))  # type: ignore[return-value]


def momentum_hooks(matcher: nn.Module, loss: nn.Module) -> list[LossHook]:
    """Build the momentum encoder that a loss requests by ``key_momentum``, if any."""
    momentum = loss.key_momentum if isinstance(loss, ContextualLoss) else None
    return [] if momentum is None else [MomentumEncoder(matcher, momentum)]
