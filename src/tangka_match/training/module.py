"""The LightningModule around any ``Matcher`` and any loss on its similarity matrix."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tangka_match.losses import (
    ContextualLoss,
    LossTerms,
    MatchingLoss,
    PairContext,
    measure,
    needs_context,
    positive_mask,
)
from tangka_match.metrics import Ranks, retrieval_ranks, summarise
from tangka_match.retrieval import score_matrix
from tangka_match.retrieval.metadata import METADATA_KEY
from tangka_match.training.augmentation import Augmentation
from tangka_match.training.chunked import encode_in_chunks
from tangka_match.training.distillation import Distillation
from tangka_match.training.distributed import gather_encoded, gather_rows, is_logged_step
from tangka_match.training.gradient_share import gradient_shares
from tangka_match.training.momentum_encoder import MomentumEncoder
from tangka_match.training.optimisation import parameter_groups, scale_rates
from tangka_match.training.pair_context import training_context, validation_context
from tangka_match.training.pair_trust import PairTrust, PairwiseLoss
from tangka_match.types import CaptionBatch, Encoded, ImageBatch, Matcher, PretrainedMatcher, RegionTextBatch

OptimizerFactory = Callable[[Iterable[dict[str, Any]]], Optimizer]
SchedulerFactory = Callable[..., LRScheduler]
_PAIR_TRUST_KEY = "pair_trust"


class MatchingModule(pl.LightningModule):
    """Trains a matcher on pairs and validates it on a whole gallery.

    Logged while training: ``train/loss``, each part of the loss and its share of the gradient in percent
    (``train/grad_share_<part>``), each schedule value, ``train/lr``, ``train/grad_norm`` (before clipping) and
    ``train/similarity_std`` (the spread of a batch's scores; near 0 when the model has collapsed). Logged at each
    validation, in percent or ranks: ``val/i2t_r1`` … ``val/mean_r1``, ``val/rsum``; and ``val/loss`` over blocks as
    large as a training batch.

    Args:
        matcher: The model; an ``nn.Module`` that satisfies ``Matcher``.
        loss: A module that satisfies ``MatchingLoss``.
        optimizer: Makes the optimizer from parameter groups.
        scheduler: Makes the learning-rate schedule from ``(optimizer, total_steps=...)``.
        augmentation: Applied to training batches.
        val_caption_to_image: (C,) int64, the image row of each validation caption.
        val_text_group: (C,) int64, equal where validation captions have the same text.
        val_block: Captions a block of ``val/loss``: the training batch size.
        metadata: What ``retrieval.metadata`` puts into every checkpoint beside the weights.
        distillation: Teachers of this model, if it has any.
        chunk_size: Pairs encoded at a time (``training.chunked``); ``None`` encodes a batch at once.
        lr_multipliers: Of the learning rate, by the name of a part of the matcher.
        pair_trust: Weighs the training pairs by their own loss; ``loss`` must be a ``PairwiseLoss`` then.
    """

    def __init__(
        self,
        matcher: nn.Module,
        loss: nn.Module,
        *,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        augmentation: Augmentation,
        val_caption_to_image: Tensor,
        val_text_group: Tensor,
        val_block: int,
        metadata: dict[str, Any],
        distillation: Distillation | None = None,
        chunk_size: int | None = None,
        lr_multipliers: Mapping[str, float] | None = None,
        pair_trust: PairTrust | None = None,
    ) -> None:
        super().__init__()
        assert isinstance(matcher, Matcher), f"{type(matcher).__name__} lacks a method of the Matcher protocol"
        self.matcher = matcher
        self.loss: MatchingLoss = loss  # type: ignore[assignment]
        momentum = loss.key_momentum if isinstance(loss, ContextualLoss) else None
        self.momentum = None if momentum is None else MomentumEncoder(matcher, momentum)
        self.last_ranks: Ranks | None = None
        self.matching_loss = self.collapse_value = float("nan")  # of the last step that was logged
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self._augment = augmentation
        self._caption_to_image = val_caption_to_image
        self._text_group = val_text_group
        self._val_block = val_block
        self._metadata = metadata
        self._distillation = distillation
        self._chunk_size = chunk_size
        self._lr_multipliers = lr_multipliers or {}
        self._pair_trust = pair_trust
        self._images: list[Encoded] = []
        self._texts: list[Encoded] = []
        self._words: list[CaptionBatch] = []

    @property
    def progress(self) -> float:
        """Share of the run's optimizer steps that are done, in [0, 1]."""
        return min(self.global_step / self.total_steps, 1.0)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return int(self.trainer.estimated_stepping_batches)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Optimizer and schedule; see ``parameter_groups`` for what decays and what learns more slowly."""
        own = self.matcher.lr_multipliers() if isinstance(self.matcher, PretrainedMatcher) else {}
        groups = parameter_groups(self.matcher, self.get_submodule("loss"), {**own, **self._lr_multipliers})
        optimizer = self._make_optimizer(groups)
        scale_rates(optimizer)
        schedule = self._make_scheduler(optimizer, total_steps=self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: RegionTextBatch, batch_idx: int) -> Tensor:
        """Score every image of the (global) batch against every caption of it, and return the loss."""
        if isinstance(self.matcher, PretrainedMatcher):
            self.matcher.set_progress(self.progress)
        whole, batch = batch, self._augment(batch)
        images = encode_in_chunks(
            self.matcher.encode_images, self._chunk_size, batch.regions.float(), batch.region_mask
        )
        texts = encode_in_chunks(self.matcher.encode_texts, self._chunk_size, batch.token_ids, batch.token_mask)
        image_index, caption_index, text_group = batch.image_index, batch.caption_index, batch.text_group
        if self.trainer.world_size > 1:
            images, texts = gather_encoded(self, images), gather_encoded(self, texts)
            image_index, text_group = gather_rows(self, image_index), gather_rows(self, text_group)
            caption_index = gather_rows(self, caption_index)
        similarity = self.matcher.similarity(images, texts)
        positives = positive_mask(image_index, text_group)
        context = training_context(self, whole, images, texts) if needs_context(self.loss) else None
        terms = measure(self.loss, similarity, positives, self.progress, context)
        matching = terms.total
        if self._pair_trust is not None:
            assert isinstance(self.loss, PairwiseLoss)
            pair_losses = self.loss.pair_losses(similarity, positives)
            terms = self._pair_trust.weigh(
                terms, pair_losses, caption_index, epoch=self.current_epoch, progress=self.progress
            )
        if self._distillation is not None:
            terms = self._distillation.add_to(terms, similarity, image_index, caption_index)
        if is_logged_step(self.trainer, self.global_step):
            # What teachers add has a value of its own when all scores are equal.
            self.matching_loss = matching.item()
            self.collapse_value = self.loss.collapse_value(positives, self.progress)
            self._log_training(terms, similarity, context)
        return terms.total

    def _log_training(self, terms: LossTerms, similarity: Tensor, context: PairContext | None) -> None:
        self.log("train/loss", terms.total.detach(), prog_bar=True)
        parts: dict[str, Tensor | float] = (
            {**terms.terms, **terms.values} if len(terms.terms) > 1 else dict(terms.values)
        )
        self.log_dict({f"train/{name}": value for name, value in parts.items()})
        if len(terms.weighted) > 1:
            meeting = [similarity] if context is None else context.encodings()
            shares = gradient_shares(terms.weighted, *meeting)
            self.log_dict({f"train/grad_share_{name}": share for name, share in shares.items()})
        self.log("train/similarity_std", similarity.detach().float().std(correction=0))
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm over all parameters, and log what it was."""
        norm = nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val or float("inf"))
        if is_logged_step(self.trainer, self.global_step):
            self.log("train/grad_norm", norm)

    def on_validation_epoch_start(self) -> None:
        """Forget the gallery of the validation before."""
        self._images, self._texts, self._words = [], [], []

    def validation_step(self, batch: ImageBatch | CaptionBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Encode one batch of the gallery, in float32 whatever the training precision."""
        with torch.autocast(self.device.type, enabled=False):
            if isinstance(batch, ImageBatch):
                encoded = self.matcher.encode_images(batch.regions.float(), batch.region_mask)
                self._images.append(encoded)
            else:
                encoded = self.matcher.encode_texts(batch.token_ids, batch.token_mask)
                self._texts.append(encoded)
                self._words.append(batch)

    def on_validation_epoch_end(self) -> None:
        """Score the whole gallery, and log recalls, ranks and the validation loss."""
        images, texts = Encoded.concatenate(self._images), Encoded.concatenate(self._texts)
        self._images, self._texts = [], []
        similarity = score_matrix(self.matcher, images, texts)
        self.last_ranks = retrieval_ranks(similarity, self._caption_to_image)
        self.log_dict({f"val/{name}": value for name, value in summarise(self.last_ranks).items()})
        if self.trainer.state.fn == "fit":
            context = validation_context(images, texts, self._words) if needs_context(self.loss) else None
            self.log("val/loss", self._validation_loss(similarity, context))
        self._words = []

    def _validation_loss(self, similarity: Tensor, context: PairContext | None) -> float:
        """Mean loss over blocks of captions against their images, so that it compares with the training loss.

        A block is every n-th caption: neighbours in the file belong to one image, and a training batch is shuffled.
        """
        captions = torch.arange(len(self._caption_to_image))
        count = max(len(captions) // self._val_block, 1)
        losses = []
        for block in (captions[first::count][: self._val_block] for first in range(count)):
            rows = self._caption_to_image[block]
            scores = similarity[rows][:, block].to(self.device)
            positives = positive_mask(rows.to(self.device), self._text_group[block].to(self.device))
            part = None if context is None else context.choose(rows, block)
            losses.append(measure(self.loss, scores, positives, self.progress, part).total)
        return torch.stack(losses).mean().item()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the metadata, so that one file is enough to evaluate and to search, and what is known of pairs."""
        checkpoint[METADATA_KEY] = self._metadata
        if self._pair_trust is not None:
            checkpoint[_PAIR_TRUST_KEY] = self._pair_trust.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with what is known of the training pairs."""
        if self._pair_trust is not None and _PAIR_TRUST_KEY in checkpoint:
            self._pair_trust.restore(checkpoint[_PAIR_TRUST_KEY])
