"""The learnt factor between scores and logits."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tangka_match.losses.base import check_range


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
