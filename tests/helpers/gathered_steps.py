"""Loss and gradients of a training step, in one process or in two; see ``test_distributed``."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from helpers.stub_matchers import MaxMeanMatcher, PooledMatcher
from helpers.two_processes import Gatherer
from tangka_match.losses import (
    AlignmentUniformityLoss,
    BlendLoss,
    HALLoss,
    InfoNCELoss,
    LossContext,
    LossInputs,
    MomentumQueueLoss,
    MultiPositiveInfoNCELoss,
    SigmoidLoss,
    SoftLabelLoss,
    WordPredictionLoss,
    needs_context,
    positive_mask,
)
from tangka_match.models.region_encoders import RegionMLP
from tangka_match.models.sgraf import SGRAF
from tangka_match.training.distributed import gather_encoded, gather_rows, gather_scores, gather_words
from tangka_match.training.loss_hooks import TrainingStep, momentum_hooks
from tangka_match.types import Encoded


class NormedRegions(nn.Module):
    """SAF, whose scores depend on statistics of the batch, on regions normalised by batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        sizes = {"feature_dim": 5, "num_regions": 4, "embed_dim": 4, "word_dim": 3, "sim_dim": 3}
        self.saf = SGRAF(vocab_size=30, reasoning="saf", dropout=0.0, **sizes)
        self.regions = RegionMLP(5, 4, 0.0, batch_norm=True)

    def encode_images(self, regions: Tensor, region_mask: Tensor) -> Encoded:
        encoded = self.saf.encode_images(regions, region_mask)
        assert encoded.tokens is not None
        return replace(encoded, tokens=encoded.tokens + self.regions(regions, region_mask))

    def encode_texts(self, token_ids: Tensor, token_mask: Tensor) -> Encoded:
        return self.saf.encode_texts(token_ids, token_mask)

    def similarity(self, images: Encoded, texts: Encoded) -> Tensor:
        return self.saf.similarity(images, texts)


def named_words() -> BlendLoss:
    """Word prediction beside a loss that trains the text encoder; with the same weights in every process."""
    torch.manual_seed(0)
    parts = {"nce": InfoNCELoss(), "words": WordPredictionLoss(embed_dim=4, num_words=9)}
    return BlendLoss(parts, {"nce": 1.0, "words": 0.5})


STEPS = {
    "pooled": (PooledMatcher, InfoNCELoss),
    "sequences": (MaxMeanMatcher, InfoNCELoss),
    "batch_statistics": (NormedRegions, InfoNCELoss),
    "multi_positive": (PooledMatcher, MultiPositiveInfoNCELoss),
    "sigmoid": (PooledMatcher, SigmoidLoss),
    "hal": (PooledMatcher, HALLoss),
    "soft_label": (PooledMatcher, SoftLabelLoss),
    "alignment_uniformity": (PooledMatcher, AlignmentUniformityLoss),
    "momentum_queue": (PooledMatcher, partial(MomentumQueueLoss, embed_dim=4, queue_size=7, key_momentum=0.5)),
    "word_prediction": (PooledMatcher, named_words),
}
"""Factories of a matcher and a loss."""


class Batch(NamedTuple):
    """Pairs with their image and text indices."""

    regions: Tensor
    region_mask: Tensor
    token_ids: Tensor
    token_mask: Tensor
    image_index: Tensor
    text_group: Tensor
    lengths: None = None


def global_batch() -> Batch:
    """Return six pairs; the first three captions are shorter, so the two ranks pad to different lengths."""
    generator = torch.Generator().manual_seed(3)
    lengths = torch.tensor([2, 3, 1, 5, 4, 5])
    return Batch(
        regions=torch.randn(6, 4, 5, generator=generator),
        region_mask=torch.arange(4) < torch.tensor([4, 2, 4, 3, 1, 4])[:, None],
        token_ids=torch.randint(0, 30, (6, 5), generator=generator),
        token_mask=torch.arange(5) < lengths[:, None],
        image_index=torch.tensor([0, 1, 2, 1, 3, 4]),  # rows 1 and 3, on different ranks, show one image
        text_group=torch.arange(6),
    )


def share_of(batch: Batch, rank: int) -> Batch:
    """Return the half of the pairs of a rank, padded to its longest caption."""
    mine = Batch(*(None if part is None else part[3 * rank : 3 * rank + 3] for part in batch))
    longest = int(mine.token_mask.sum(1).max())
    return mine._replace(token_ids=mine.token_ids[:, :longest], token_mask=mine.token_mask[:, :longest])


class Step(nn.Module):
    """A matcher with its loss, as one module for DDP."""

    def __init__(self, kind: str, *, gather: bool) -> None:
        super().__init__()
        matcher, loss = STEPS[kind]
        self.matcher, self.loss = matcher(), loss()
        self.matcher.dropout = nn.Identity()
        self.hooks = nn.ModuleList(momentum_hooks(self.matcher, self.loss))
        self.gather = gather
        self.scored: list[tuple[int, ...]] = []

    def forward(self, batch: Batch) -> Tensor:
        images = self.matcher.encode_images(batch.regions, batch.region_mask)
        texts = self.matcher.encode_texts(batch.token_ids, batch.token_mask)
        index, group, words = batch.image_index, batch.text_group, (batch.token_ids, batch.token_mask)
        gather = partial(gather_encoded, Gatherer()) if self.gather else _unchanged
        if self.gather:
            ranks = Gatherer()
            index, group, words = gather_rows(ranks, index), gather_rows(ranks, group), gather_words(ranks, *words)
        texts = gather(texts)
        context = LossContext(gather(images), texts, *words) if needs_context(self.loss) else None
        scores = self.matcher.similarity(images, texts)
        self.scored.append(tuple(scores.shape))
        scores = gather_scores(Gatherer(), scores) if self.gather else scores
        inputs = LossInputs(scores, positive_mask(index, group), context)
        step = TrainingStep(self.matcher, self.loss, batch, index, index, group, gather, epoch=0, progress=0.5)
        for hook in self.hooks:
            inputs = hook.before_loss(inputs, step)
        return self.loss(inputs).total


def _unchanged(encoded: Encoded) -> Encoded:
    return encoded


def single_process(kind: str) -> dict[str, Any]:
    """Compute loss and gradients of the whole batch."""
    return _outcome(step := Step(kind, gather=False), step, global_batch())


def one_of_two(rank: int) -> dict[str, Any]:
    """Compute loss and gradients of every kind of step under DDP, and gather tensors."""
    batch = share_of(global_batch(), rank)
    found: dict[str, Any] = {}
    for kind in STEPS:
        step = Step(kind, gather=True)
        found[kind] = _outcome(DistributedDataParallel(step), step, batch)
    length = 2 + rank
    ragged = Encoded(
        pooled=torch.full((2, 1), float(rank)),
        tokens=torch.full((2, length, 1), float(rank + 1)),
        mask=torch.ones(2, length, dtype=torch.bool),
    )
    gathered = gather_encoded(Gatherer(), ragged)
    ids, words = gather_words(Gatherer(), batch.token_ids, batch.token_mask)
    found |= {"token_ids": ids, "token_mask": words}
    return found | {"pooled_rows": gathered.pooled, "tokens": gathered.tokens, "mask": gathered.mask}


def _outcome(called: nn.Module, step: Step, batch: Batch) -> dict[str, Any]:
    with torch.no_grad():
        called(batch)  # fills the queue, which is empty at first
    loss = called(batch)
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in step.named_parameters() if p.requires_grad}
    queue = {name: value.clone() for name, value in step.loss.named_buffers()}
    statistics = {name: value.clone() for name, value in step.matcher.named_buffers() if "_" in name}
    return {
        "loss": loss.item(),
        "gradients": gradients,
        "queue": queue,
        "scored": step.scored,
        "statistics": statistics,
    }
