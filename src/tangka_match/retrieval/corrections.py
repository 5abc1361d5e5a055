"""Hubness corrections by name, applied to both directions of a gallery."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.data.split import Split
from tangka_match.errors import ConfigError
from tangka_match.retrieval.hubness import inverted_softmax, k_reciprocal, nnn, qb_norm, sinkhorn
from tangka_match.retrieval.protocols import Rescore

WITH_BANK = ("qb_norm", "nnn")
TRANSDUCTIVE = ("inverted_softmax", "sinkhorn", "k_reciprocal")
CORRECTIONS = (*WITH_BANK, *TRANSDUCTIVE)


@dataclass(frozen=True)
class CorrectionSettings:
    """Hyper-parameters of the corrections, published values by default; tune them on val, not on the reported split.

    Args:
        beta: Inverse temperature of ``qb_norm``, ``inverted_softmax`` and ``sinkhorn``.
        top_k: Best answers of each bank query that count as hubs, for ``qb_norm``.
        nnn_alpha: Weight of the correction of ``nnn``.
        nnn_k: Bank queries averaged per gallery item, for ``nnn``.
        iterations: Row and column scalings of ``sinkhorn``.
        candidates: Best answers of each query that ``k_reciprocal`` re-ranks.

    Raises:
        ConfigError: If a value is not above 0.
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
                raise ConfigError(f"correction.{name}={value} must be above 0")


class BankScores(NamedTuple):
    """Scores of bank queries against the set under evaluation.

    Attributes:
        i2t: Bank images against captions, (B, C).
        t2i: Images against bank captions, (I, B).
    """

    i2t: Float[Tensor, "B C"]
    t2i: Float[Tensor, "I B"]


@dataclass(frozen=True, eq=False)
class Bank:
    """Queries of a split that is not under evaluation, usually train.

    Args:
        split: Opened split.
        images: Ascending rows of the image queries.
        captions: Ascending indices of the caption queries.
    """

    split: Split
    images: npt.NDArray[np.int64]
    captions: npt.NDArray[np.int64]

    @classmethod
    def draw(cls, split: Split, size: int, seed: int, evaluated: Split) -> "Bank":
        """Draw at most ``size`` images and at most ``size`` captions, each at random without replacement.

        Args:
            split: Split to draw from.
            size: Maximum number of images, and of captions.
            seed: Random seed.
            evaluated: Split under evaluation.

        Raises:
            ConfigError: If ``size`` is below 1, or ``split`` holds the data under evaluation, whose queries would make
                the corrections transductive.
        """
        if size < 1:
            raise ConfigError(f"bank.size={size} must be >= 1")
        if split.fingerprint == evaluated.fingerprint:
            raise ConfigError(
                f"bank.split={split.name} holds the data under evaluation (split={evaluated.name}), but the bank needs "
                "other queries; use bank.split=train"
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
        ConfigError: If a name is unknown; the message lists the unknown and the allowed names.
    """
    unknown = [name for name in names if name not in CORRECTIONS]
    if unknown:
        raise ConfigError(f"hubness={unknown}: unknown correction; allowed are {', '.join(CORRECTIONS)}")


def clipped_settings(
    names: Sequence[str], settings: CorrectionSettings, bank: Bank | None, smallest_gallery: int
) -> list[str]:
    """Describe the settings that exceed what there is to choose from, and are clipped to it.

    Args:
        names: Corrections in use, out of ``CORRECTIONS``.
        settings: Their hyper-parameters.
        bank: Bank of queries, if there is one.
        smallest_gallery: Items of the smallest gallery that a query ranks.

    Returns:
        One sentence per clipped setting.
    """
    gallery = (smallest_gallery, f"gallery of {smallest_gallery:,} items")
    limits = {"qb_norm": ("top_k", *gallery), "k_reciprocal": ("candidates", *gallery)}
    if bank is not None:
        queries = min(len(bank.images), len(bank.captions))
        limits["nnn"] = ("nnn_k", queries, f"bank of {queries:,} queries")
    return [
        f"correction.{setting}={getattr(settings, setting)} is larger than the {found} and was clipped to {limit:,}"
        for name, (setting, limit, found) in limits.items()
        if name in names and getattr(settings, setting) > limit
    ]


def corrector(name: str, settings: CorrectionSettings, bank: BankScores | None) -> Rescore:
    """Build the function with which `rank_galleries` corrects the scores of each gallery.

    Args:
        name: One of ``CORRECTIONS``.
        settings: Hyper-parameters.
        bank: Scores of the bank, for the corrections in ``WITH_BANK``.

    Returns:
        Function from a gallery's scores (I, C) and the rows of its images and captions to two matrices (I, C):
        corrected for image queries, and corrected for caption queries.
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
        assert bank is not None, f"{name} needs a bank"
        if name == "qb_norm":
            return qb_norm(scores, bank, settings.beta, settings.top_k)
        return nnn(scores, bank, settings.nnn_alpha, settings.nnn_k)
    if name == "inverted_softmax":
        return inverted_softmax(scores, settings.beta)
    if name == "sinkhorn":
        return sinkhorn(scores, settings.beta, settings.iterations)
    return k_reciprocal(scores, settings.candidates)
