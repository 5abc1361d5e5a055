"""Encodings, scores and ranks of a split, on which the diagnosis of a model is based."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.data.feature_scan import FeatureScan
from tangka_match.data.split import Split
from tangka_match.metrics import Ranks, retrieval_ranks
from tangka_match.retrieval.corrections import WITH_BANK, Bank, BankScores, CorrectionSettings, corrector
from tangka_match.retrieval.trained_matcher import TrainedMatcher
from tangka_match.types import Encoded

BANK = 512
"""Training images, and training captions, in the query bank of the hubness corrections."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Encodings, scores and ranks of a split.

    Args:
        split: Split of I images and C captions.
        words: Words of each caption, by the tokenizer of the model.
        images: Encoded images.
        texts: Encoded captions.
        similarity: (I, C) scores.
        owners: (C,) row of each caption's image.
        ranks: Ranks by the raw scores.
        corrected: Ranks after each hubness correction that needs training queries only; empty without a bank.
    """

    split: Split
    words: Sequence[Sequence[str]]
    images: Encoded
    texts: Encoded
    similarity: Float[Tensor, "I C"]
    owners: Int[Tensor, " C"]
    ranks: Ranks
    corrected: Mapping[str, Ranks]

    def direction(self, name: str) -> tuple[Float[Tensor, "Q G"], Bool[Tensor, "Q G"], Int[Tensor, " Q"]]:
        """Return scores, relevance and ranks of ``i2t`` or ``t2i``; rows are queries, columns gallery items."""
        own = self.owners[None, :] == torch.arange(len(self.similarity))[:, None]
        return (self.similarity, own, self.ranks.i2t) if name == "i2t" else (self.similarity.T, own.T, self.ranks.t2i)


def score_split(matcher: TrainedMatcher, split: Split, bank: Bank | None) -> Scored:
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
    return Scored(split, words, images, texts, similarity, owners, ranks, corrected)


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
