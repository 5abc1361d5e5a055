"""Components of several losses: checks of settings and inputs, normalised embeddings, and the learnt temperature."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.errors import ConfigError, ShapeError
from tangka_match.losses.base import ContextualLoss, LossContext, LossInputs
from tangka_match.ops import at_least_float32, l2_normalise
from tangka_match.types import AuxiliaryPooling, Encoded, TokenMatcher

_ALTERNATIVES = (
    "choose a model with pooled embeddings (model=vse, dual_path, vse_infinity) or a loss on scores (loss=info_nce)"
)


def check_pairs(similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"]) -> None:
    """Check that the two matrices are square, of one shape, and that the diagonal is positive.

    On a GPU the diagonal is checked there, without waiting: a wrong one ends the process with a device-side assertion.

    Raises:
        ShapeError: If a check fails.
    """
    shape, marks = tuple(similarity.shape), tuple(positives.shape)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ShapeError(f"similarity is {shape}, but a loss needs (B, B) with B >= 1: image b matches caption b")
    if marks != shape:
        raise ShapeError(f"positives is {marks} but similarity is {shape}; build both from one batch: positive_mask")
    try:
        torch._assert_async(positives.diagonal().all(), "positives is False on the diagonal")
    except RuntimeError as error:  # on a CPU
        row = int(positives.diagonal().int().argmin())
        raise ShapeError(
            f"positives {marks} is False on the diagonal at row {row}, but image b matches caption b; "
            "True must mark matching pairs"
        ) from error


def check_range(name: str, value: float | int, low: float, high: float, advice: str) -> None:
    """Check that a setting is finite and in ``[low, high]``.

    Raises:
        ConfigError: If it is not.
    """
    if not (low <= value <= high and math.isfinite(value)):
        raise ConfigError(f"{name}={value} is outside [{low:g}, {high:g}]: {advice}")


def check_pooled(loss: object, matcher: object) -> None:
    """Check that a matcher's scores come from the pooled embeddings that a loss compares.

    Raises:
        ConfigError: If the loss needs pooled embeddings, and the matcher has none (`TokenMatcher`) or its scores do not
            compare them (`AuxiliaryPooling`).
    """
    if not (isinstance(loss, ContextualLoss) and loss.needs_pooled):
        return
    if isinstance(matcher, TokenMatcher):
        raise _no_pooled_embeddings(type(loss).__name__)
    if isinstance(matcher, AuxiliaryPooling):
        raise ConfigError(
            f"loss {type(loss).__name__} compares one vector per image with one per caption, but the scores of "
            f"{type(matcher).__name__} do not: they would not be trained; {_ALTERNATIVES}"
        )


def pooled_embeddings(
    loss: nn.Module, images: Encoded, texts: Encoded
) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
    """Return the pooled embeddings of images and captions, L2-normalised, in float32 or wider.

    Args:
        loss: The loss that needs them, for the message.
        images: Encoded images.
        texts: Encoded captions.

    Raises:
        ConfigError: If the matcher has no pooled embeddings.
    """
    if images.pooled is None or texts.pooled is None:
        raise _no_pooled_embeddings(type(loss).__name__)
    return l2_normalise(at_least_float32(images.pooled)), l2_normalise(at_least_float32(texts.pooled))


def required_context(loss: nn.Module, inputs: LossInputs) -> LossContext:
    """Return the context of the inputs.

    Raises:
        ConfigError: If the inputs have none.
    """
    if inputs.context is None:
        raise ConfigError(
            f"loss {type(loss).__name__} reads embeddings or captions, but LossInputs.context is None; pass a "
            "LossContext of the batch"
        )
    return inputs.context


class LogitScale(nn.Module):
    """Learnt ``logit_scale = 1 / temperature``, stored as its logarithm and clamped to ``1 / min_temperature``.

    As in CLIP (arXiv:2103.00020, sec. 2.5), the logarithm makes a step of the optimizer a relative change, and the
    clamp keeps the scale from growing without bound on training data that the model fits.

    Recommendations:
        Exclude the parameter from weight decay, which would pull the temperature towards 1.

    Args:
        temperature: Initial temperature, >= ``min_temperature``.
        min_temperature: Lowest temperature, > 0.

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(self, temperature: float | int, min_temperature: float | int = 0.01) -> None:
        super().__init__()
        check_range("min_temperature", min_temperature, 1e-4, 100.0, "scores are divided by it")
        check_range("temperature", temperature, float(min_temperature), float("inf"), "min_temperature is its minimum")
        self.ceiling = -math.log(min_temperature)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self) -> Float[Tensor, ""]:
        """Return the scale in float32, at most ``1 / min_temperature``.

        In training the parameter itself is clamped in place: clamping only the result would leave a parameter above
        the ceiling with zero gradient, so that it could not decrease again.
        """
        if self.training and torch.is_grad_enabled():
            # Through .data, which autograd does not track: a second call in a step would break the first one's graph.
            self.log_scale.data.clamp_(max=self.ceiling)
        return self.log_scale.float().clamp(max=self.ceiling).exp()


def temperature_of(scale: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Convert a logit scale to a temperature, for logging; the value stays on its device.

    >>> temperature_of(torch.tensor(20.0))
    tensor(0.0500)
    """
    return scale.detach().reciprocal()


def _no_pooled_embeddings(loss: str) -> ConfigError:
    return ConfigError(
        f"loss {loss} compares one vector per image with one per caption, but this model has none: it compares regions "
        f"with words; {_ALTERNATIVES}"
    )
