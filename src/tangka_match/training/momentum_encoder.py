"""A copy of the matcher that follows it slowly: what a queue of past embeddings is made of."""

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

from tangka_match.types import Encoded, RegionTextBatch


class MomentumEncoder(nn.Module):
    r"""Encodes pairs with weights :math:`\theta_k \leftarrow m\,\theta_k + (1 - m)\,\theta`.

    Keys that were queued some batches ago compare with new ones only if their encoder has hardly changed since (He et
    al., "Momentum Contrast", arXiv:1911.05722, eq. 2). The copy is always in evaluation mode: it drops nothing out and
    draws no random number, and takes buffers, such as the statistics of a batch norm, as they are. It is part of a
    checkpoint.

    Args:
        matcher: What it follows; a ``Matcher``. The copy becomes equal to it when it follows for the first time.
        momentum: ``m``, the share of its own weights that it keeps in a step, in [0, 1).
    """

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

    @torch.no_grad()
    def follow(self, matcher: nn.Module) -> None:
        """Take one step towards the matcher's weights, after the matcher took one."""
        share = 1.0 - self.momentum if self.started else 1.0
        for weight, its_weight in zip(self.matcher.parameters(), matcher.parameters(), strict=True):
            weight.lerp_(its_weight, share)
        for buffer, its_buffer in zip(self.matcher.buffers(), matcher.buffers(), strict=True):
            buffer.copy_(its_buffer)
        self.started.fill_(True)

    @torch.no_grad()
    def encode(self, batch: RegionTextBatch) -> tuple[Encoded, Encoded]:
        """Return the pooled vectors of images and captions; whatever there is, if there are no pooled ones."""
        images = self.matcher.encode_images(batch.regions.float(), batch.region_mask)
        texts = self.matcher.encode_texts(batch.token_ids, batch.token_mask)
        return tuple(e if e.pooled is None else Encoded(pooled=e.pooled) for e in (images, texts))  # type: ignore[return-value]
