"""Stochastic weight averaging: the mean of the weights over the last part of a run."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class TailAveraging(WeightAveraging):
    """Validates and keeps the mean of all weights since a share of the run was done (Izmailov et al. 2018, SWA,
    arXiv:1803.05407); before that, the weights themselves.

    Args:
        begin: Share of the run's optimizer steps, in (0, 1).
    """

    def __init__(self, begin: float) -> None:
        super().__init__(avg_fn=self._average)
        self._begin = begin
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Learn how long the run is."""
        self._first_step = round(self._begin * trainer.estimated_stepping_batches)

    def _average(self, averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        """The new average after ``updates`` earlier steps."""
        members = max(int(updates) - self._first_step, 0)
        return averaged + (current - averaged) / (members + 1)
