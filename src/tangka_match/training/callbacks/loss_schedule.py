"""Callback that updates the scheduled settings of the loss."""

from typing import Any

import pytorch_lightning as pl

from tangka_match.losses import apply_schedules


class LossSchedule(pl.Callback):
    """Callback that sets the scheduled attributes of the loss before each training step and validation.

    The values depend only on the number of optimizer steps taken, so a resumed run continues with the correct values.
    ``MatchingModule`` adds this callback to every trainer. Validation outside training changes nothing.
    """

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the values of this step."""
        self._apply(pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the values for ``val/loss``, during training only."""
        if trainer.state.fn == "fit":
            self._apply(pl_module)

    @staticmethod
    def _apply(module: Any) -> None:
        apply_schedules(module.loss, module.progress)
