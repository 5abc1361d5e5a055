"""Scheduled settings of the loss, moved by optimizer step."""

from typing import Any

import pytorch_lightning as pl

from tangka_match.losses import apply_schedules


class LossSchedule(pl.Callback):
    """Sets the scheduled attributes of the loss before each training step and each validation during training.

    The values depend on the optimizer steps taken, not on a state of their own, so a resumed run continues with the
    right ones. ``MatchingModule`` adds this callback to every trainer itself.
    """

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the values of this step."""
        self._apply(pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the values that ``val/loss`` is computed with."""
        if trainer.state.fn == "fit":
            self._apply(pl_module)

    @staticmethod
    def _apply(module: Any) -> None:
        apply_schedules(module.loss, module.progress)
