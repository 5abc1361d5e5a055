"""Distillation: trained models teach a student by their scores of each training batch."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tangka_match.data.split import Split
from tangka_match.losses import DistillationLoss, LossTerms
from tangka_match.retrieval import score_matrix
from tangka_match.retrieval.trained_matcher import TrainedMatcher
from tangka_match.training.settings import DistillationSettings


class Teachers:
    """Trained models, frozen, and what they made of the training set, encoded once.

    A teacher reads the captions by its own tokenizer and vocabulary; caption and image are found by their index in the
    split. The encodings stay in memory: a few KB an item for pooled vectors, up to 150 KB an image for 36 regions of
    1,024 dimensions. No part of this enters a checkpoint, and nothing random is drawn from the run's generators.

    Args:
        paths: Of the checkpoints, one or more.
        split: The training split, opened.

    Raises:
        CheckpointError: If a file is missing, damaged or unsafe, or its model does not take this split's features.
    """

    def __init__(self, paths: Sequence[Path], split: Split) -> None:
        with torch.random.fork_rng(devices=[]):  # a model is made with random weights before it is loaded
            self._matchers = [TrainedMatcher.load(path) for path in paths]
        self._encoded = [teacher.encode_split(split) for teacher in self._matchers]

    def score(self, image_index: Tensor, caption_index: Tensor, device: torch.device) -> Tensor:
        """Mean over the teachers of their standardised scores, (B, B) float32 without gradient.

        Args:
            image_index: (B,) rows of the split's images.
            caption_index: (B,) numbers of the split's captions.
            device: Where to compute; the teachers move there.
        """
        rows, columns = image_index.cpu(), caption_index.cpu()
        total = torch.zeros(len(rows), len(columns), device=device)
        for teacher, (images, texts) in zip(self._matchers, self._encoded, strict=True):
            assert isinstance(teacher.matcher, nn.Module)
            teacher.matcher.to(device)
            with torch.autocast(device.type, enabled=False):
                scores = score_matrix(teacher.matcher, images[rows], texts[columns]).to(device)
            total += (scores - scores.mean()) / scores.std(correction=0).clamp(min=1e-12)
        return total / len(self._matchers)


class Distillation:
    """Adds to the loss of a batch what teachers say of it.

    Args:
        teachers: Loaded.
        loss: Between the student's and the teachers' scores.
        weight: Of this part; the matching loss has 1.
    """

    def __init__(self, teachers: Teachers, loss: DistillationLoss, weight: float) -> None:
        self._teachers = teachers
        self._loss = loss
        self._weight = weight

    def add_to(self, terms: LossTerms, similarity: Tensor, image_index: Tensor, caption_index: Tensor) -> LossTerms:
        """The terms with one more, ``distillation``, in the total and among its weighted parts."""
        taught = self._teachers.score(image_index, caption_index, similarity.device)
        value = self._loss(similarity, taught)
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
    settings: DistillationSettings, loss: DistillationLoss | None, split: Split
) -> Distillation | None:
    """Load the teachers and encode the training split by each; ``None`` where there is no distillation loss.

    Raises:
        CheckpointError: As ``Teachers``.
    """
    return None if loss is None else Distillation(Teachers(settings.teachers, split), loss, settings.weight)
