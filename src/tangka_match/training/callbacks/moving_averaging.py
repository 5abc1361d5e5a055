"""Exponential moving average of the weights."""

from torch.optim.swa_utils import get_ema_avg_fn

from tangka_match.training.callbacks.averaging import Averaging


class MovingAveraging(Averaging):
    """Validates and keeps a moving average of the weights, which is updated after each step.

    Args:
        decay: Share of itself that the average keeps in a step, in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__(get_ema_avg_fn(decay))
