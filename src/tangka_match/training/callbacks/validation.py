"""Callbacks that act on validation: early stopping, pruning, the last validation, and log lines."""

import logging
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from tangka_match.training.callbacks.checkpoints import MONITORED


class EarlyStopping(pl.callbacks.EarlyStopping):
    """Stops when ``val/mean_r1`` has not risen for ``patience`` validations, also in a run resumed at that point.

    Lightning's own callback restores how long it has waited, but not that it had asked to stop: a run killed after its
    last checkpoint would train one epoch more than an unbroken one.

    Args:
        patience: Validations without a new best.
    """

    def __init__(self, patience: int) -> None:
        super().__init__(MONITORED, mode="max", patience=patience)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask again, before the loop begins an epoch."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


logger = logging.getLogger(__name__)


class Pruning(pl.Callback):
    """Reports ``val/mean_r1`` after each validation and stops the run when told to.

    The run then ends as any other: with its best checkpoint, its metrics and its ranks.

    Args:
        report: Told the epoch, from 0, and the value; answers whether to stop.
    """

    def __init__(self, report: Callable[[int, float], bool]) -> None:
        self.pruned = False
        self._report = report

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report, and ask the loop to stop at this epoch's end."""
        if trainer.state.fn != "fit":
            return
        value = float(trainer.callback_metrics[MONITORED])
        if self._report(trainer.current_epoch, value) and not trainer.should_stop:
            self.pruned = True
            trainer.should_stop = True
            logger.info("pruned after epoch %d: other trials were better at this point", trainer.current_epoch)


class LastValidation(pl.Callback):
    """Makes the last optimizer step end in a validation.

    Lightning validates where an epoch ends. A run that ``max_steps`` ends within an epoch, or whose last epoch is none
    of every n-th, would otherwise never show what its last weights can do, and may have no best checkpoint at all.
    """

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask the loop, which decides about validation right after this hook, to validate and to stop."""
        if trainer.global_step >= trainer.estimated_stepping_batches:
            trainer.check_val_every_n_epoch = 1
            trainer.should_stop = True


class ValidationLines(pl.Callback):
    """Logs epoch, step, losses and recalls after each validation."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the line."""
        if trainer.state.fn != "fit":
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        logger.info(
            "epoch %2d  step %5d  loss %s  val %.3f  i2t %.2f/%.2f/%.2f  t2i %.2f/%.2f/%.2f  mean R@1 %.2f  rsum %.1f",
            trainer.current_epoch,
            trainer.global_step,
            f"{metrics['train/loss']:.3f}" if "train/loss" in metrics else "–",  # an epoch may end before the first
            *(metrics[f"val/{key}"] for key in ("loss", "i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10")),
            metrics["val/mean_r1"],
            metrics["val/rsum"],
        )
