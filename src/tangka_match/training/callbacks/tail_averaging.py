"""Stochastic weight averaging: the mean of the weights over the last part of a run."""

import pytorch_lightning as pl
from torch import Tensor

from tangka_match.training.callbacks.averaging import Averaging


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
