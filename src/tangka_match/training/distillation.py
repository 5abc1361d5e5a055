"""Distillation: frozen teachers supervise the student's scores of each training batch."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tangka_match.data.split import Split
from tangka_match.errors import ConfigError
from tangka_match.losses import ContextualLoss, DistillationLoss, LossInputs, LossTerms
from tangka_match.retrieval import score_matrix
from tangka_match.retrieval.score_matrix import fits_on_gpu
from tangka_match.retrieval.trained_matcher import TrainedMatcher
from tangka_match.training.loss_hooks import LossHook, TrainingStep
from tangka_match.training.sentence_teacher import SentenceTeacher
from tangka_match.training.settings import DistillationSettings
from tangka_match.types import Encoded


class Teachers:
    """Frozen trained models with their cached encodings of the training set.

    Each teacher reads the captions with its own tokenizer and vocabulary; pairs are found by their index in the split.
    Every process encodes the split before its first step, on the device of the run. The encodings stay there if they
    take at most ``GPU_MEMORY_SHARE`` of its free memory, else in the memory of the host: a few KB per item for pooled
    embeddings, up to 150 KB per image for 36 regions of 1,024 dimensions. Teachers are not saved in checkpoints and do
    not draw from the run's random generators.

    Args:
        paths: Checkpoint files.
        split: The opened training split.
        sentences: One more teacher, which knows the captions only: its score of image i and caption c is the cosine of
            the caption of pair i and caption c.

    Raises:
        CheckpointError: If a file is missing, damaged or unsafe, or its model does not take this split's features.
    """

    def __init__(self, paths: Sequence[Path], split: Split, sentences: SentenceTeacher | None = None) -> None:
        self.sentences = sentences
        with torch.random.fork_rng(devices=[]):  # a model is initialised at random before its weights are loaded
            self._matchers = [TrainedMatcher.load(path) for path in paths]
        for teacher in self._matchers:
            teacher.check_split(split)
        self._split = split
        self._encoded: list[tuple[Encoded, Encoded]] = []

    def score(self, image_index: Tensor, caption_index: Tensor, device: torch.device) -> Tensor:
        """Compute the mean of the teachers' standardised scores, (B, B) float32 without gradient.

        Args:
            image_index: Rows of the split's images, (B,).
            caption_index: Indices of the split's captions, (B,).
            device: Device to compute on; the teachers are moved there.
        """
        if not self._encoded:
            self._encoded = [self._encode(teacher, device) for teacher in self._matchers]
        parts = [
            score_matrix(teacher.matcher, _select(images, image_index), _select(texts, caption_index), output=device)
            for teacher, (images, texts) in zip(self._matchers, self._encoded, strict=True)
        ]
        if self.sentences is not None:
            parts.append(self.sentences.cosines(caption_index, device))
        total = torch.zeros(len(image_index), len(caption_index), device=device)
        for scores in parts:
            total += (scores - scores.mean()) / scores.std(correction=0).clamp(min=1e-12)
        return total / len(parts)

    def _encode(self, teacher: TrainedMatcher, device: torch.device) -> tuple[Encoded, Encoded]:
        assert isinstance(teacher.matcher, nn.Module)
        teacher.matcher.to(device)
        images, texts = teacher.encode_split(self._split)
        return _placed(images, device), _placed(texts, device)


def _placed(encoded: Encoded, device: torch.device) -> Encoded:
    return encoded.to(device) if fits_on_gpu(encoded, device) else encoded


def _select(encoded: Encoded, rows: Tensor) -> Encoded:
    """Return rows of encodings, which may be on the host while the rows are not."""
    vectors = encoded.pooled if encoded.tokens is None else encoded.tokens
    assert vectors is not None
    return encoded[rows.to(vectors.device)]


class Distillation(LossHook):
    """Adds a weighted distillation loss to the matching loss.

    Args:
        teachers: The teachers.
        loss: Loss between the student's and the teachers' scores.
        weight: Weight of the distillation loss; the matching loss has weight 1. 0 = the teachers' scores are not used.
        same_above: Cosine of the centred sentence vectors above which the pairs of two captions are marked as positives
            of each other, as if the captions were equal: InfoNCE, the triplet loss and HAL leave them out of the
            negatives, while losses with several positives pull them together. ``None`` = never. Needs a
            `SentenceTeacher`.
    """

    name = "distillation"

    def __init__(
        self, teachers: Teachers, loss: DistillationLoss, weight: float, same_above: float | None = None
    ) -> None:
        self._teachers = teachers
        self._loss = loss
        self._weight = weight
        self._same_above = same_above

    def before_loss(self, inputs: LossInputs, step: TrainingStep) -> LossInputs:
        """Mark pairs whose captions say the same as positives."""
        if self._same_above is None:
            return inputs
        assert self._teachers.sentences is not None, "same_above needs a SentenceTeacher"
        cosines = self._teachers.sentences.cosines(step.caption_index, inputs.similarity.device)
        return inputs._replace(positives=inputs.positives | (cosines > self._same_above))

    def after_loss(self, terms: LossTerms, inputs: LossInputs, step: TrainingStep) -> LossTerms:
        """Add the term ``distillation``."""
        if self._weight == 0:
            return terms
        taught = self._teachers.score(step.image_index, step.caption_index, inputs.similarity.device)
        value = self._loss(inputs.similarity, taught)
        return LossTerms(
            total=terms.total + self._weight * value,
            terms={**terms.terms, "distillation": value.detach()},
            values=terms.values,
            weighted={
                **(terms.weighted or dict.fromkeys(terms.terms, terms.total)),
                "distillation": self._weight * value,
            },
        )


def load_distillation(
    settings: DistillationSettings, loss: DistillationLoss | None, split: Split, sets: Sequence[Split]
) -> Distillation | None:
    """Load the teachers; ``None`` without a distillation loss.

    Args:
        settings: Teachers, weight, and the threshold of captions that say the same.
        loss: Loss between the student's and the teachers' scores.
        split: All pairs to train on.
        sets: The sets that ``split`` joins.

    Raises:
        CheckpointError: If a teacher is missing, damaged or unsafe, or does not take the features of the split.
        ConfigError: If the pretrained text encoder cannot be read.
        DataFormatError: If a caption has no word piece of that encoder.
    """
    if loss is None:
        return None
    sentences = None
    if settings.text_model is not None:
        sentences = SentenceTeacher(settings.text_model, settings.text_prefix, sets)
    return Distillation(Teachers(settings.teachers, split, sentences), loss, settings.weight, settings.same_above)


def check_same_above(loss: object, same_above: float | None) -> None:
    """Check that a threshold of captions that say the same reaches all negatives of the loss.

    Raises:
        ConfigError: If the loss has a queue of negatives, which is not compared with the captions of the batch.
    """
    if same_above is not None and isinstance(loss, ContextualLoss) and loss.key_momentum is not None:
        raise ConfigError(
            f"distillation.same_above={same_above} compares the captions of a batch, but {type(loss).__name__} has "
            "more negatives in its queue: choose another loss, or set distillation.same_above=null"
        )
