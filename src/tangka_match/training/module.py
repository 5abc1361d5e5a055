"""The LightningModule that trains any ``Matcher`` with any loss on its similarity matrix."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tangka_match.losses import LossContext, LossInputs, LossTerms, MatchingLoss, needs_context, positive_mask
from tangka_match.metric_names import VAL_PREFIX
from tangka_match.metrics import RetrievalMetrics
from tangka_match.ops import full_precision
from tangka_match.retrieval import score_matrix
from tangka_match.retrieval.metadata import METADATA_KEY
from tangka_match.training.augmentation import Augmentation
from tangka_match.training.callbacks.loss_schedule import LossSchedule
from tangka_match.training.distributed import gather_encoded, gather_rows, gather_scores, gather_words, is_logged_step
from tangka_match.training.encoding import EncodedGallery, encode_in_chunks, encode_texts
from tangka_match.training.loss_hooks import LossHook, TrainingStep
from tangka_match.training.loss_scaling import has_skipped, scales_loss, skipped_steps
from tangka_match.training.optimisation import OptimizerFactory, fused_on_gpu, parameter_groups, scale_rates
from tangka_match.types import CaptionBatch, Encoded, ImageBatch, Matcher, PretrainedMatcher, RegionTextBatch

SchedulerFactory = Callable[..., LRScheduler]


class ValidationSet(NamedTuple):
    """Ground truth of the validation set of I images and C captions.

    Attributes:
        caption_to_image: Image row of each caption, (C,) int64.
        text_group: Caption text index of each caption, (C,) int64; equal texts have equal indices.
        block_size: Captions per block of ``val/loss``; the training batch size.
    """

    caption_to_image: Tensor
    text_group: Tensor
    block_size: int

    def blocks(self) -> list[Tensor]:
        """Return caption indices of blocks as large as a training batch.

        A block is every n-th caption, because neighbouring captions belong to one image and training batches are
        shuffled.
        """
        captions = torch.arange(len(self.caption_to_image))
        count = max(len(captions) // self.block_size, 1)
        return [captions[first::count][: self.block_size] for first in range(count)]


class MatchingModule(pl.LightningModule):
    """Trains a matcher on pairs and validates it on a whole gallery.

    Logged in training: ``train/loss``, each part of the loss and its share of the gradient in percent
    (``train/grad_share_<part>``), scheduled and learnt values, ``train/lr``, ``train/grad_norm`` (before clipping) and
    ``train/similarity_std`` (standard deviation of a batch's scores; near 0 in a collapsed model). Logged at each
    validation: ``val/i2t_r1`` … ``val/mean_r1``, ``val/rsum`` in percent, ranks, and ``val/loss``, the mean over blocks
    as large as a training batch.

    Args:
        matcher: The model, an ``nn.Module`` that satisfies ``Matcher``.
        loss: A module that satisfies ``MatchingLoss``.
        optimizer: Factory of the optimizer from parameter groups.
        scheduler: Factory of the learning-rate schedule from ``(optimizer, total_steps=...)``.
        augmentation: Augmentation of training batches.
        validation: Ground truth of the validation set.
        metadata: Metadata stored in every checkpoint, see ``retrieval.metadata``.
        hooks: Hooks around the loss, in the order in which they are applied.
        chunk_size: Pairs per chunk of gradient caching (``training.chunk_size``); ``None`` encodes a batch at once.
        lr_multipliers: Multipliers of the learning rate by prefix of parameter names.
    """

    def __init__(
        self,
        matcher: nn.Module,
        loss: nn.Module,
        *,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        augmentation: Augmentation,
        validation: ValidationSet,
        metadata: dict[str, Any],
        hooks: Sequence[LossHook] = (),
        chunk_size: int | None = None,
        lr_multipliers: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        assert isinstance(matcher, Matcher), f"{type(matcher).__name__} lacks a method of the Matcher protocol"
        self.matcher = matcher
        self.loss: MatchingLoss = loss
        for hook in hooks:
            if isinstance(hook, nn.Module):
                self.add_module(hook.name, hook)
        self.val_metrics = RetrievalMetrics()
        self.last_inputs: LossInputs | None = None  # of the last logged step, for the training guard
        self.matching_loss = float("nan")  # of the last logged step, before any hook
        self._loss_hooks = tuple(hooks)
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self._augment = augmentation
        self._validation = validation
        self._metadata = metadata
        self._chunk_size = chunk_size
        self._lr_multipliers = lr_multipliers or {}
        self._gallery = EncodedGallery(matcher)

    @property
    def progress(self) -> float:
        """Completed share of the run's optimizer steps, in [0, 1]; skipped steps (see `LossScaling`) do not count."""
        return min((self.global_step - skipped_steps(self.trainer)) / self.total_steps, 1.0)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return int(self.trainer.estimated_stepping_batches)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Return the callback that updates the scheduled settings of the loss."""
        return [LossSchedule()]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Build optimizer and schedule; see ``parameter_groups`` for weight decay and learning-rate multipliers."""
        own = self.matcher.lr_multipliers() if isinstance(self.matcher, PretrainedMatcher) else {}
        groups = parameter_groups(self.matcher, self.get_submodule("loss"), {**own, **self._lr_multipliers})
        optimizer = fused_on_gpu(self._make_optimizer, self.device, scales_loss=scales_loss(self.trainer))(groups)
        scale_rates(optimizer)
        schedule = self._make_scheduler(optimizer, total_steps=self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def lr_scheduler_step(self, scheduler: LRScheduler, metric: Any) -> None:
        """Step the learning-rate schedule, unless the optimizer's step was skipped."""
        if not has_skipped(self.trainer):
            super().lr_scheduler_step(scheduler, metric)

    def training_step(self, batch: RegionTextBatch, batch_idx: int) -> Tensor:
        """Compute the loss of the global batch; each process scores its images against all captions."""
        if isinstance(self.matcher, PretrainedMatcher):
            self.matcher.set_progress(self.progress)
        images, texts = self._encode(self._augment(batch))
        step = self._describe_step(batch)
        texts = step.gather(texts)
        inputs = LossInputs(
            self._score(images, texts),
            positive_mask(step.image_index, step.text_group),
            LossContext(step.gather(images), texts, *self._gather_words(batch)) if needs_context(self.loss) else None,
        )
        for hook in self._loss_hooks:
            inputs = hook.before_loss(inputs, step)
        terms = self.loss(inputs)
        matching = terms.total
        for hook in self._loss_hooks:
            terms = hook.after_loss(terms, inputs, step)
        if is_logged_step(self.trainer, self.global_step):
            self.matching_loss, self.last_inputs = matching.item(), inputs.detach()
            self._log_training(terms, inputs)
        return terms.total

    def _encode(self, batch: RegionTextBatch) -> tuple[Encoded, Encoded]:
        regions, size = batch.regions.float(), self._chunk_size
        images = encode_in_chunks(self.matcher.encode_images, size, regions, batch.region_mask)
        return images, encode_texts(self.matcher, batch.token_ids, batch.token_mask, batch.lengths, size)

    def _score(self, images: Encoded, texts: Encoded) -> Tensor:
        rows = self.matcher.similarity(images, texts)
        return gather_scores(self, rows) if self.trainer.world_size > 1 else rows

    def _describe_step(self, batch: RegionTextBatch) -> TrainingStep:
        indices = (batch.image_index, batch.caption_index, batch.text_group)
        if self.trainer.world_size > 1:
            indices = tuple(gather_rows(self, index) for index in indices)  # type: ignore[assignment]
        gather = self._gather if self.trainer.world_size > 1 else _unchanged
        return TrainingStep(
            self.matcher, self.loss, batch, *indices, gather=gather, epoch=self.current_epoch, progress=self.progress
        )

    def _gather(self, encoded: Encoded) -> Encoded:
        return gather_encoded(self, encoded)

    def _gather_words(self, batch: RegionTextBatch) -> tuple[Tensor, Tensor]:
        words = (batch.token_ids, batch.token_mask)
        return gather_words(self, *words) if self.trainer.world_size > 1 else words

    def _log_training(self, terms: LossTerms, inputs: LossInputs) -> None:
        self.log("train/loss", terms.total.detach(), prog_bar=True)
        parts: dict[str, float | Tensor] = (
            {**terms.terms, **terms.values} if len(terms.terms) > 1 else dict(terms.values)
        )
        self.log_dict({f"train/{name}": value for name, value in parts.items()})
        if len(terms.weighted) > 1:
            shares = terms.gradient_shares(inputs.sources())
            self.log_dict({f"train/grad_share_{name}": share for name, share in shares.items()})
        self.log("train/similarity_std", inputs.similarity.detach().float().std(correction=0))
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient norm over all parameters, and log the norm before clipping."""
        norm = nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val or float("inf"))
        if is_logged_step(self.trainer, self.global_step):
            self.log("train/grad_norm", norm)

    def on_validation_epoch_start(self) -> None:
        """Start with an empty gallery."""
        self._gallery = EncodedGallery(self.matcher)
        self.val_metrics.reset()

    def validation_step(self, batch: ImageBatch | CaptionBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Encode a batch of the gallery in float32, whatever the training precision."""
        with full_precision(self.device.type):
            self._gallery.add(batch)

    def on_validation_epoch_end(self) -> None:
        """Score the whole gallery, and log recalls, ranks and the validation loss."""
        images, texts = self._gallery.concatenate()
        similarity = score_matrix(self.matcher, images, texts)
        self.val_metrics.update(similarity, self._validation.caption_to_image)
        self.log_dict({f"{VAL_PREFIX}{name}": value for name, value in self.val_metrics.compute().items()})
        if self.trainer.state.fn == "fit":
            context = self._gallery.context(images, texts) if needs_context(self.loss) else None
            self.log(f"{VAL_PREFIX}loss", self._validation_loss(similarity, context))
        self._gallery = EncodedGallery(self.matcher)

    def _validation_loss(self, similarity: Tensor, context: LossContext | None) -> float:
        """Compute the mean loss over blocks of captions and their images, comparable with the training loss."""
        losses = []
        for block in self._validation.blocks():
            rows = self._validation.caption_to_image[block]
            positives = positive_mask(rows.to(self.device), self._validation.text_group[block].to(self.device))
            part = None if context is None else context.select(rows, block)
            losses.append(self.loss(LossInputs(similarity[rows][:, block].to(self.device), positives, part)).total)
        return torch.stack(losses).mean().item()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the metadata and the state of hooks, so that one file is enough to evaluate, search and resume."""
        checkpoint[METADATA_KEY] = self._metadata
        for hook in self._loss_hooks:
            if not isinstance(hook, nn.Module) and (state := hook.state_dict()):
                checkpoint[hook.name] = state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state of hooks."""
        for hook in self._loss_hooks:
            if not isinstance(hook, nn.Module) and hook.name in checkpoint:
                hook.load_state_dict(checkpoint[hook.name])


def _unchanged(encoded: Encoded) -> Encoded:
    return encoded
