"""Weight averaging: exponential moving average (EMA), and the mean over the last part of a run (SWA)."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_avg_fn

AverageFunction = Callable[[Tensor, Tensor, Tensor], Tensor]


class Averaging(WeightAveraging):
    """Callback that averages parameters and floating-point buffers of the matcher after each step.

    All other buffers are copied from the current model. Lightning's own callback averages every buffer, also integer
    codes (`only_floating_point`) and the queue of a loss, whose rows belong to other pairs after each step.

    Args:
        average: Function of the average, the current value and the number of earlier updates; returns the new average.
    """

    def __init__(self, average: AverageFunction) -> None:
        super().__init__(avg_fn=only_floating_point(average))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average, then copy the buffers that do not belong to the matcher."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        assert self._average_model is not None
        averaged = dict(self._average_model.module.named_buffers())
        for name, current in pl_module.named_buffers():
            if not name.startswith("matcher."):
                averaged[name].copy_(current)


def only_floating_point(average: AverageFunction) -> AverageFunction:
    """Restrict an average to floating-point tensors; integers and booleans, which are codes and counts, are copied.

    The mean of equal integers, rounded to float32 and truncated, can be one less: a word would get other characters.

    Args:
        average: Function of the average, the current value and the number of earlier updates; returns the new average.

    Example:
        >>> import torch
        >>> from torch.optim.swa_utils import get_ema_avg_fn
        >>> average, code, updates = get_ema_avg_fn(0.9999), torch.tensor(11), torch.tensor(1)
        >>> average(code, code, updates).long(), only_floating_point(average)(code, code, updates)
        (tensor(10), tensor(11))
    """

    def averaged_or_latest(averaged: Tensor, current: Tensor, updates: Tensor) -> Tensor:
        return average(averaged, current, updates) if current.is_floating_point() else current

    return averaged_or_latest


class MovingAveraging(Averaging):
    """Callback that keeps an exponential moving average of the weights; validation and ``best.ckpt`` use it.

    Args:
        decay: Weight of the old average in each update, in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__(get_ema_avg_fn(decay))


class TailAveraging(Averaging):
    """Callback that keeps the mean of the weights over the last part of a run; validation and ``best.ckpt`` use it.

    Before that part begins, validation uses the weights themselves. Source: Izmailov et al. 2018, arXiv:1803.05407.

    Args:
        begin: Share of the run's optimizer steps after which averaging starts, in (0, 1).
    """

    def __init__(self, begin: float) -> None:
        super().__init__(self._average)
        self._begin = begin
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compute the first step that is averaged."""
        self._first_step = round(self._begin * trainer.estimated_stepping_batches)

    def _average(self, averaged: Tensor, current: Tensor, updates: Tensor) -> Tensor:
        """Return the new average after ``updates`` earlier steps."""
        members = (updates - self._first_step).clamp(min=0)
        return averaged + (current - averaged) / (members + 1)
