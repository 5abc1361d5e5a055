"""Weight averaging: exponential moving average (EMA), and the mean over the last part of a run (SWA)."""

import logging
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

logger = logging.getLogger(__name__)

Tensors = list[Tensor] | tuple[Tensor, ...]
AverageFunction = Callable[[Tensors, Tensors, Tensor], None]


class Averaging(WeightAveraging):
    """Callback that averages parameters and floating-point buffers of the matcher after each step.

    All other buffers are copied from the current model. Lightning's own callback averages every buffer, also integer
    codes (`only_floating_point`) and the queue of a loss, whose rows belong to other pairs after each step. It also
    restores the current weights before the module computes scores at the end of the validation epoch; this one does so
    afterwards.

    Args:
        average: Function of the averages, which it changes, the current values and the number of earlier updates. It
            gets all tensors of one dtype at once, so that a GPU runs a few kernels for all of them.
    """

    def __init__(self, average: AverageFunction) -> None:
        super().__init__(multi_avg_fn=only_floating_point(average))

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

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the averaged weights: Lightning calls this before the module computes the scores."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the current weights, before checkpoints are written."""
        if self._average_model is not None:
            self._swap_models(pl_module)


def only_floating_point(average: AverageFunction) -> AverageFunction:
    """Apply an average to floating-point tensors only; integers and booleans, which are codes and counts, are copied.

    The mean of equal integers, rounded to float32 and truncated, can be one less: a word would get other characters.

    Args:
        average: Function of the averages, which it changes, the current values and the number of earlier updates.
    """

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, updates: Tensor) -> None:
        if averaged[0].is_floating_point():
            average(averaged, current, updates)
        else:
            torch._foreach_copy_(averaged, current)

    return update


class MovingAveraging(Averaging):
    """Callback that keeps an exponential moving average of the weights; validation and ``best.ckpt`` use it.

    Args:
        decay: Weight of the old average in each update, in (0, 1).
        warmup: Whether update t = 1, 2, ... has the decay ``min(decay, (1 + t) / (10 + t))``, as in timm and diffusers,
            so that a short run does not keep its first weights.
    """

    def __init__(self, decay: float, warmup: bool = False) -> None:
        super().__init__(self._average)
        self._decay = decay
        self._warmup = warmup

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warn if the average will hold more than half of the first weights at the end of the run."""
        steps = int(trainer.estimated_stepping_batches)
        share = torch.ones(steps - 1).mul(self._decay_at(torch.arange(1, steps))).prod().item()
        if share > 0.5:
            advice = "lower it" if self._warmup else "lower it, or set callbacks.moving_average.warmup=true"
            logger.warning(
                "training.ema_decay=%g: after the %d optimizer steps of this run, %.0f %% of the average, which "
                "validation and best.ckpt use, are still the weights after the first step; %s",
                self._decay,
                steps,
                100 * share,
                advice,
            )

    def _decay_at(self, updates: Tensor) -> Tensor | float:
        """Return the decay after ``updates`` earlier updates, without synchronising with a GPU."""
        return ((1 + updates) / (10 + updates)).clamp(max=self._decay) if self._warmup else self._decay

    def _average(self, averaged: Tensors, current: Tensors, updates: Tensor) -> None:
        """Update the averages after ``updates`` earlier steps."""
        decay = self._decay_at(updates)
        torch._foreach_mul_(averaged, decay)
        torch._foreach_add_(averaged, torch._foreach_mul(current, 1 - decay))


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

    def _average(self, averaged: Tensors, current: Tensors, updates: Tensor) -> None:
        """Update the averages after ``updates`` earlier steps."""
        members = (updates - self._first_step).clamp(min=0)
        change = torch._foreach_sub(current, averaged)
        torch._foreach_div_(change, members + 1)
        torch._foreach_add_(averaged, change)
