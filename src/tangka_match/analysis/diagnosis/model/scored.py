"""Everything that the parts of a model's diagnosis look at: encodings, scores, ranks, answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.analysis.diagnosis.feature_scan import FeatureScan
from tangka_match.data.split import Split
from tangka_match.metrics import Ranks, retrieval_ranks
from tangka_match.retrieval.corrections import WITH_BANK, Bank, BankScores, CorrectionSettings, corrector
from tangka_match.retrieval.trained_matcher import TrainedMatcher
from tangka_match.types import Encoded

BANK = 512
"""Training images, and captions, that the corrections for hubs are told of."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A model's view of a split.

    Args:
        split: Of I images and C captions.
        words: The words of each caption, as the model's tokenizer cuts them.
        images: Encoded.
        texts: Encoded.
        similarity: Scores, (I, C).
        owners: (C,) row of each caption's image.
        ranks: Of the raw scores.
        corrected: Ranks after each correction for hubs that needs training queries only; none without a bank.
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
        """Scores, right answers and ranks of ``i2t`` or ``t2i``: rows queries, columns what they choose from."""
        own = self.owners[None, :] == torch.arange(len(self.similarity))[:, None]
        return (self.similarity, own, self.ranks.i2t) if name == "i2t" else (self.similarity.T, own.T, self.ranks.t2i)


def score_split(matcher: TrainedMatcher, split: Split, bank: Bank | None) -> Scored:
    """Encode and score a split, chunk by chunk, and correct the scores for hubs.

    Args:
        matcher: The model.
        split: Of undamaged features, at least two images and captions.
        bank: Training queries; ``None`` corrects nothing.

    Raises:
        CheckpointError: If the model and the split do not fit each other.
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
    """Draw training queries whose features can be read; ``None`` where fewer than two are left.

    Args:
        train: The split to draw from.
        scan: Of its features.
        size: Images, and captions, at most.
        seed: Of the draw.
    """
    fine = undamaged(scan)
    random = np.random.default_rng(seed)
    rows, columns = (
        np.sort(random.permutation(np.flatnonzero(allowed))[:size]).astype(np.int64)
        for allowed in (fine, fine[train.caption_to_image])
    )
    return Bank(train, rows, columns) if min(len(rows), len(columns)) > 1 else None


def undamaged(scan: FeatureScan) -> npt.NDArray[np.bool_]:
    """(N,), ``True`` for images that a model can read: no NaN or Inf, and not all zeros."""
    return np.logical_and(scan.finite.all(axis=1), scan.real.any(axis=1))
