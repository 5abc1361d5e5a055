"""The corrections of ``hubness`` by name, applied to both directions of a gallery."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.data.split import Split
from tangka_match.errors import ConfigError
from tangka_match.retrieval.hubness import inverted_softmax, k_reciprocal, nnn, qb_norm, sinkhorn

WITH_BANK = ("qb_norm", "nnn")
TRANSDUCTIVE = ("inverted_softmax", "sinkhorn", "k_reciprocal")
CORRECTIONS = (*WITH_BANK, *TRANSDUCTIVE)


@dataclass(frozen=True)
class CorrectionSettings:
    """Knobs of the corrections; the defaults are published ones. Tune them on val, never on the set that is reported.

    Args:
        beta: Inverse temperature of ``qb_norm``, ``inverted_softmax`` and ``sinkhorn``.
        top_k: Best answers of a bank query that count as hubs, for ``qb_norm``.
        nnn_alpha: Weight of ``nnn``.
        nnn_k: Bank queries an item is compared with, for ``nnn``.
        iterations: Of ``sinkhorn``.
        candidates: First answers that ``k_reciprocal`` re-ranks.

    Raises:
        ConfigError: If a number is not above 0.
    """

    beta: float = 20.0
    top_k: int = 1
    nnn_alpha: float = 0.75
    nnn_k: int = 128
    iterations: int = 10
    candidates: int = 15

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"correction.{name}={value}; it must be above 0")


class BankScores(NamedTuple):
    """Scores of bank queries against the set under evaluation.

    Attributes:
        i2t: (B, C), bank images against captions.
        t2i: (I, B), images against bank captions.
    """

    i2t: Float[Tensor, "B C"]
    t2i: Float[Tensor, "I B"]


@dataclass(frozen=True, eq=False)
class Bank:
    """Queries of a split that is not under evaluation, usually train.

    Args:
        split: Opened.
        images: Ascending rows of the image queries.
        captions: Ascending numbers of the caption queries.
    """

    split: Split
    images: npt.NDArray[np.int64]
    captions: npt.NDArray[np.int64]

    @classmethod
    def draw(cls, split: Split, size: int, seed: int, evaluated: Split) -> "Bank":
        """Draw at most ``size`` images and as many captions, each at random without replacement.

        Raises:
            ConfigError: If ``size`` is below 1, or the split is the one under evaluation, whose queries would make the
                corrections transductive.
        """
        if size < 1:
            raise ConfigError(f"bank.size={size}: give at least 1")
        if split.fingerprint == evaluated.fingerprint:
            raise ConfigError(
                f"bank.split={split.name} holds the very data under evaluation (split={evaluated.name}): the bank "
                "needs other queries, usually bank.split=train"
            )
        random = np.random.default_rng(seed)
        rows, columns = (
            np.sort(random.permutation(count)[:size]).astype(np.int64)
            for count in (split.num_images, split.num_captions)
        )
        return cls(split, rows, columns)


def check_corrections(names: list[str]) -> None:
    """Refuse names that are not in ``CORRECTIONS``.

    Raises:
        ConfigError: Naming the unknown ones.
    """
    unknown = [name for name in names if name not in CORRECTIONS]
    if unknown:
        raise ConfigError(f"hubness={unknown}: there is no such correction; allowed are {', '.join(CORRECTIONS)}")


def corrector(
    name: str, settings: CorrectionSettings, bank: BankScores | None
) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """What ``rank_galleries`` calls to correct the scores of each gallery.

    Args:
        name: One of ``CORRECTIONS``.
        settings: Its knobs.
        bank: Scores of the bank, for those of ``WITH_BANK``.

    Returns:
        From a gallery's scores (I, C) and the rows of its images and captions to two matrices (I, C): corrected for
        image queries, and for caption queries.
    """

    def correct(
        scores: Float[Tensor, "I C"], images: Int[Tensor, " I"], captions: Int[Tensor, " C"]
    ) -> tuple[Float[Tensor, "I C"], Float[Tensor, "I C"]]:
        banks = (None, None) if bank is None else (bank.i2t[:, captions], bank.t2i[images].T)
        return _apply(name, scores, banks[0], settings), _apply(name, scores.T, banks[1], settings).T

    return correct


def _apply(
    name: str, scores: Float[Tensor, "Q G"], bank: Float[Tensor, "B G"] | None, settings: CorrectionSettings
) -> Float[Tensor, "Q G"]:
    """Correct one direction."""
    if name in WITH_BANK:
        assert bank is not None, f"{name} works with a bank"
        if name == "qb_norm":
            return qb_norm(scores, bank, settings.beta, settings.top_k)
        return nnn(scores, bank, settings.nnn_alpha, settings.nnn_k)
    if name == "inverted_softmax":
        return inverted_softmax(scores, settings.beta)
    if name == "sinkhorn":
        return sinkhorn(scores, settings.beta, settings.iterations)
    return k_reciprocal(scores, settings.candidates)


def bank_scores(parts: list[BankScores]) -> BankScores:
    """The mean over the models of an ensemble."""
    return BankScores(*(torch.stack(matrices).mean(dim=0) for matrices in zip(*parts, strict=True)))
