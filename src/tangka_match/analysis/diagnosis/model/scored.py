"""Scores and ranks of a split, by a model or by another program, on which their diagnosis is based."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.data.feature_scan import FeatureScan
from tangka_match.data.split import Split
from tangka_match.metrics import Ranks, retrieval_ranks
from tangka_match.retrieval.corrections import WITH_BANK, Bank, BankScores, CorrectionSettings, corrector
from tangka_match.retrieval.given_scores import GivenScores
from tangka_match.retrieval.trained_matcher import TrainedMatcher
from tangka_match.types import Encoded

BANK = 512
"""Training images, and training captions, in the query bank of the hubness corrections."""


class Queries(Protocol):
    """Names of the images and captions that were scored: a `Split`, or a `GivenQueries`."""

    @property
    def name(self) -> str:
        """Name for people."""

    @property
    def captions(self) -> Sequence[str]:
        """The C captions."""

    @property
    def image_ids(self) -> Sequence[str]:
        """Ids of the I images."""

    @property
    def captions_path(self) -> Path:
        """File in the folder that may hold thumbnails."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores and ranks of I images and C captions.

    Args:
        split: What was scored.
        similarity: (I, C) scores.
        owners: (C,) row of each caption's image.
        ranks: Ranks by the raw scores.
        corrected: Ranks after each hubness correction that needs training queries only; empty without a bank.
    """

    split: Queries
    similarity: Float[Tensor, "I C"]
    owners: Int[Tensor, " C"]
    ranks: Ranks
    corrected: Mapping[str, Ranks]

    def direction(self, name: str) -> tuple[Float[Tensor, "Q G"], Bool[Tensor, "Q G"], Int[Tensor, " Q"]]:
        """Return scores, relevance and ranks of ``i2t`` or ``t2i``; rows are queries, columns gallery items."""
        own = self.owners[None, :] == torch.arange(len(self.similarity))[:, None]
        return (self.similarity, own, self.ranks.i2t) if name == "i2t" else (self.similarity.T, own.T, self.ranks.t2i)


@dataclass(frozen=True, eq=False)
class ScoredByModel(Scored):
    """Scores and ranks of a split, with the encodings that gave them.

    Args:
        split: Split that was scored.
        words: Words of each caption, by the tokenizer of the model.
        images: Encoded images.
        texts: Encoded captions.
    """

    split: Split
    words: Sequence[Sequence[str]]
    images: Encoded
    texts: Encoded


@dataclass(frozen=True)
class GivenQueries:
    """Queries of a score matrix without a data set; captions are named by their columns.

    Args:
        captions_path: File of the matrix.
        image_ids: Ids of the images, or their rows.
        captions: Names of the captions.
    """

    captions_path: Path
    image_ids: Sequence[str]
    captions: Sequence[str]

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.captions_path.name


def scored_by_others(scores: GivenScores, split: Split | None) -> Scored:
    """Rank by the scores of another program.

    Args:
        scores: Score matrix.
        split: Split that was scored, or ``None``.
    """
    owners = torch.as_tensor(scores.caption_to_image)
    names = tuple(f"caption {column + 1}" for column in range(scores.num_captions))
    queries = GivenQueries(scores.path, scores.image_ids, names) if split is None else split
    return Scored(queries, scores.similarity, owners, retrieval_ranks(scores.similarity, owners), {})


def score_split(matcher: TrainedMatcher, split: Split, bank: Bank | None) -> ScoredByModel:
    """Encode and score a split in chunks, and apply the hubness corrections.

    Args:
        matcher: Model.
        split: Split with undamaged features, and at least two images and captions.
        bank: Training queries; ``None`` for no correction.

    Raises:
        CheckpointError: If the model does not fit the split.
        TrainingError: If a score is NaN.
    """
    images, texts = matcher.encode_split(split)
    similarity = matcher.similarity(images, texts)
    owners = torch.as_tensor(split.caption_to_image)
    ranks = retrieval_ranks(similarity, owners)
    corrected = {}
    if bank is not None:
        bank_images, bank_texts = matcher.encode_split(bank.split, bank.images, bank.captions)
        scores = BankScores(matcher.similarity(bank_images, texts), matcher.similarity(images, bank_texts))
        settings = CorrectionSettings(nnn_k=min(CorrectionSettings.nnn_k, len(bank.images), len(bank.captions)))
        rows, columns = torch.arange(len(similarity)), torch.arange(len(owners))
        for name in WITH_BANK:
            i2t, t2i = corrector(name, settings, scores)(similarity, rows, columns)
            corrected[name] = Ranks(retrieval_ranks(i2t, owners).i2t, retrieval_ranks(t2i, owners).t2i)
    words = [matcher.tokenizer(caption) for caption in split.captions]
    return ScoredByModel(split, similarity, owners, ranks, corrected, words, images, texts)


def undamaged_bank(train: Split, scan: FeatureScan, size: int = BANK, seed: int = 0) -> Bank | None:
    """Sample training queries with undamaged features; ``None`` if fewer than two are left.

    Args:
        train: Training split.
        scan: Statistics of its features.
        size: Most images, and most captions.
        seed: Seed of the sampling.
    """
    usable = undamaged(scan)
    random = np.random.default_rng(seed)
    rows, columns = (
        np.sort(random.permutation(np.flatnonzero(allowed))[:size]).astype(np.int64)
        for allowed in (usable, usable[train.caption_to_image])
    )
    return Bank(train, rows, columns) if min(len(rows), len(columns)) > 1 else None


def undamaged(scan: FeatureScan) -> npt.NDArray[np.bool_]:
    """Return a mask (N,) of the images that a model can encode: no NaN or Inf, and not all zeros."""
    return np.logical_and(scan.finite.all(axis=1), scan.real.any(axis=1))
