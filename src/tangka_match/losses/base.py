"""What all losses share: their interface, what they return, and the check of what they are given."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tangka_match.errors import ConfigError, ShapeError


class LossTerms(NamedTuple):
    """What a loss returns: the number to minimise, and what a log should show of how it came about.

    Attributes:
        total: The loss, a scalar with gradient.
        terms: The parts of the loss by name, scalars without gradient and before any weight, so that their curves can
            be compared while a schedule moves the weights.
        values: The settings in force at this progress, by name: those that a schedule or learning moves.
        weighted: The weighted parts, scalars with gradient that add up to ``total``, by the names of ``terms``; only
            of a loss of several parts, and only those that have a weight at some time of the run.
    """

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    values: dict[str, float]
    weighted: Mapping[str, Float[Tensor, ""]] = MappingProxyType({})


@runtime_checkable
class MatchingLoss(Protocol):
    """A loss on the similarity matrix of a mini-batch of pairs; training knows no more of a loss than this."""

    def __call__(
        self, similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"], progress: float | int = 1.0
    ) -> LossTerms:
        """Measure how far matching pairs are from standing out.

        Args:
            similarity: Scores, (B, B): rows images, columns captions, higher = closer; the pairs are on the diagonal.
            positives: (B, B), ``True`` where row and column belong together and so are never negatives of each other.
            progress: Share of the run's optimizer steps already taken, in [0, 1].
        """
        ...

    def collapse_value(self, positives: Bool[Tensor, "B B"], progress: float | int = 1.0) -> float:
        """Say what the loss is when all scores are equal, that is, when the model tells nothing apart."""
        ...


def check_pairs(similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"]) -> None:
    """Refuse matrices that are not square, not of one shape, or whose diagonal is not marked positive.

    Reading the diagonal makes a GPU wait for its queue once a step; a mask that is upside down would cost a whole run.

    Raises:
        ShapeError: If one of the three does not hold.
    """
    shape, marks = tuple(similarity.shape), tuple(positives.shape)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ShapeError(f"similarity is {shape}; a loss needs pairs, (B, B) with B >= 1: row b matches column b")
    if marks != shape:
        raise ShapeError(f"positives is {marks} but similarity is {shape}; build it from the same batch: positive_mask")
    if not bool(positives.diagonal().all()):
        row = int((~positives.diagonal()).nonzero()[0])
        raise ShapeError(
            f"positives {marks} is False on the diagonal at row {row}, but row b matches column b: "
            "True marks what belongs together"
        )


def working_precision(similarity: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Widen half-precision scores to float32: bfloat16 has steps of 0.004 near 1, a fiftieth of the usual margin."""
    return similarity.to(torch.promote_types(similarity.dtype, torch.float32))


def check_range(name: str, value: float | int, low: float, high: float, advice: str) -> None:
    """Refuse a setting outside ``[low, high]``, and NaN or infinity in any case.

    Raises:
        ConfigError: If ``value`` lies outside.
    """
    if not (low <= value <= high and math.isfinite(value)):
        raise ConfigError(f"{name}={value} is outside [{low:g}, {high:g}]: {advice}")
