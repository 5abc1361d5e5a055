"""Weight averaging: exponential moving average, and the mean over the last part of a run (SWA)."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_avg_fn

AverageFunction = Callable[[Tensor, Tensor, Tensor], Tensor]


class Averaging(WeightAveraging):
    """Averages parameters, and fractions among the matcher's buffers, after each step; the rest is the running model's.

    Lightning's own callback averages every buffer: the codes of words (`of_fractions`), and the rows of a loss's queue,
    which are of other pairs after each step.

    Args:
        average: Makes the new average of the average, the current value and the number of earlier updates.
    """

    def __init__(self, average: AverageFunction) -> None:
        super().__init__(avg_fn=of_fractions(average))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average, then take over the buffers that are not the matcher's."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        assert self._average_model is not None
        averaged = dict(self._average_model.module.named_buffers())
        for name, current in pl_module.named_buffers():
            if not name.startswith("matcher."):
                averaged[name].copy_(current)


def of_fractions(average: AverageFunction) -> AverageFunction:
    """Average fractions alone: the latest whole numbers and truth values, which are codes and counts, are taken over.

    A mean of equal whole numbers, rounded to float32 and cut off, can be the number below: a word would get other
    characters, a piece another position. Two truth values have no mean at all.

    Args:
        average: Makes the new average of the average, the current value and the number of earlier updates.

    Example:
        >>> import torch
        >>> from torch.optim.swa_utils import get_ema_avg_fn
        >>> average, code, updates = get_ema_avg_fn(0.9999), torch.tensor(11), torch.tensor(1)
        >>> average(code, code, updates).long(), of_fractions(average)(code, code, updates)
        (tensor(10), tensor(11))
    """

    def averaged_or_latest(averaged: Tensor, current: Tensor, updates: Tensor) -> Tensor:
        return average(averaged, current, updates) if current.is_floating_point() else current

    return averaged_or_latest


class MovingAveraging(Averaging):
    """Validates and keeps a moving average of the weights, which is updated after each step.

    Args:
        decay: Share of itself that the average keeps in a step, in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__(get_ema_avg_fn(decay))


class TailAveraging(Averaging):
    """Validates and keeps the mean of the weights after each step of the last part of a run.

    Before that part begins, validation sees the weights themselves. Source: Izmailov et al. 2018, arXiv:1803.05407.

    Args:
        begin: Share of the run's optimizer steps, in (0, 1).
    """

    def __init__(self, begin: float) -> None:
        super().__init__(self._average)
        self._begin = begin
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Learn how long the run is."""
        self._first_step = round(self._begin * trainer.estimated_stepping_batches)

    def _average(self, averaged: Tensor, current: Tensor, updates: Tensor) -> Tensor:
        """The new average after ``updates`` earlier steps."""
        members = (updates - self._first_step).clamp(min=0)
        return averaged + (current - averaged) / (members + 1)
