"""Exponential moving average of the weights, and what an average may be taken of."""

from collections.abc import Callable

from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_avg_fn

AverageFunction = Callable[[Tensor, Tensor, Tensor], Tensor]


class MovingAveraging(WeightAveraging):
    """Validates and keeps a moving average of the weights, which is updated after each step.

    In place of Lightning's ``EMAWeightAveraging``, which also averages codes (`of_fractions`).

    Args:
        decay: Share of itself that the average keeps in a step, in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__(avg_fn=of_fractions(get_ema_avg_fn(decay)))


def of_fractions(average: AverageFunction) -> AverageFunction:
    """Average fractions alone: the latest whole numbers and truth values, which are codes and counts, are taken over.

    A mean of equal whole numbers, rounded to float32 and cut off, can be the number below: a word would get other
    characters, a piece another position. Two truth values have no mean at all.

    Args:
        average: Makes the new average of the average, the current value and the number of earlier updates.

    Example:
        >>> import torch
        >>> average, code, updates = get_ema_avg_fn(0.9999), torch.tensor(11), torch.tensor(1)
        >>> average(code, code, updates).long(), of_fractions(average)(code, code, updates)
        (tensor(10), tensor(11))
    """

    def averaged_or_latest(averaged: Tensor, current: Tensor, updates: Tensor) -> Tensor:
        return average(averaged, current, updates) if current.is_floating_point() else current

    return averaged_or_latest
