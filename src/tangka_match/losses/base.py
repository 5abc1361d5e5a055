"""What all losses share: interface, terms, checks, the positives mask, and the learnt logit scale."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

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


def positive_mask(image_index: Int[Tensor, " B"], text_group: Int[Tensor, " B"]) -> Bool[Tensor, "B B"]:
    """Mark the pairs that belong together: the same image, or the same caption text.

    Another caption of the same image describes it as well as its own one, and the same text under another image fits
    that image too; pushing either away teaches the model something false.

    Args:
        image_index: The image of every row, (B,).
        text_group: The caption text of every row, (B,): equal numbers mean equal texts.

    Returns:
        (B, B), symmetric, ``True`` on the diagonal: row ``b`` and column ``c`` share the image or the text.

    Raises:
        ShapeError: If the two differ in length.

    Example:
        Rows 0 and 1 show one image; rows 1 and 2 carry one text.

        >>> import torch
        >>> positive_mask(torch.tensor([4, 4, 9]), torch.tensor([0, 1, 1])).int()
        tensor([[1, 1, 0],
                [1, 1, 1],
                [0, 1, 1]], dtype=torch.int32)
    """
    if image_index.shape != text_group.shape:
        raise ShapeError(
            f"image_index is {tuple(image_index.shape)} but text_group is {tuple(text_group.shape)}; "
            "both hold one number a pair of the batch"
        )
    same_image = image_index[:, None] == image_index[None, :]
    same_text = text_group[:, None] == text_group[None, :]
    return same_image | same_text


class LogitScale(nn.Module):
    """A learnt ``logit_scale = 1 / temperature``, kept as its logarithm and held below ``1 / min_temperature``.

    As a logarithm the same step of the optimiser is the same relative change anywhere (CLIP, arXiv:2103.00020,
    sec. 2.5). Without a ceiling the scale grows on training data that the model has learnt by heart, and the
    gradients with it. Give it no weight decay: decay would pull the temperature towards 1.

    Args:
        temperature: Temperature at the start, >= ``min_temperature``.
        min_temperature: The lowest temperature allowed, > 0.

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(self, temperature: float | int, min_temperature: float | int = 0.01) -> None:
        super().__init__()
        check_range("min_temperature", min_temperature, 1e-4, 100.0, "scores are divided by it")
        check_range("temperature", temperature, float(min_temperature), float("inf"), "min_temperature is its floor")
        self.ceiling = -math.log(min_temperature)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self) -> Float[Tensor, ""]:
        """Return the scale in float32, at most ``1 / min_temperature``.

        In training the parameter itself is put back onto the ceiling, where its gradient still flows: merely clamping
        the value would leave a parameter beyond the ceiling without a gradient that could bring it back.
        """
        if self.training:
            # Through .data, which autograd does not see: a second call in a step would spoil the first one's gradient.
            self.log_scale.data.clamp_(max=self.ceiling)
        return self.log_scale.float().clamp(max=self.ceiling).exp()


def temperature_of(scale: Float[Tensor, ""]) -> float:
    """The temperature that a scale stands for, as a log shows it.

    >>> temperature_of(torch.tensor(20.0))
    0.05000000074505806
    """
    return scale.detach().reciprocal().item()
