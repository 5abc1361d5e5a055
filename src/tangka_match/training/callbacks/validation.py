"""Callbacks that act on validation: early stopping, pruning, the last validation, and log lines."""

import logging
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from tangka_match.metric_names import DEFAULT_MONITOR
from tangka_match.training.distributed import ends_step
from tangka_match.training.settings import monitor_mode

logger = logging.getLogger(__name__)


class EarlyStopping(pl.callbacks.EarlyStopping):
    """Callback that stops a run when the monitored metric has not improved for a number of validations.

    Lightning's own callback restores how long it has waited, but not its request to stop: a run killed after its last
    checkpoint would train one epoch longer when resumed.

    Args:
        patience: Validations without a new best value.
        monitor: Name of the monitored metric, such as ``val/mean_r1``.

    Raises:
        ConfigError: If ``monitor`` is not a metric of validation.
    """

    def __init__(self, patience: int, monitor: str = DEFAULT_MONITOR) -> None:
        super().__init__(monitor, mode=monitor_mode(monitor), patience=patience)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Repeat the request to stop before the loop starts an epoch."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class Pruning(pl.Callback):
    """Callback that reports a metric to a study after each validation, and stops the run if the study prunes it.

    A pruned run still ends with its best checkpoint, its metrics and its ranks.

    Args:
        report: Function called with the epoch, from 0, and the value; returns whether to stop.
        metric: Name of the reported metric as logged, such as ``val/rsum``: the objective of the study.
    """

    def __init__(self, report: Callable[[int, float], bool], metric: str) -> None:
        self.pruned = False
        self._report, self._metric = report, metric

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report, and request to stop at the end of this epoch."""
        if trainer.state.fn != "fit":
            return
        value = float(trainer.callback_metrics[self._metric])
        if self._report(trainer.current_epoch, value) and not trainer.should_stop:
            self.pruned = True
            trainer.should_stop = True
            logger.info("pruned after epoch %d: other trials were better at the same epoch", trainer.current_epoch)


class LastValidation(pl.Callback):
    """Callback that validates after the last optimizer step of a run.

    Lightning validates at the end of every n-th epoch. A run that ``max_steps`` ends elsewhere would never validate its
    last weights, and might have no best checkpoint at all.
    """

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Request validation and the end of the run; the loop decides on both right after this hook."""
        if trainer.global_step >= trainer.estimated_stepping_batches and ends_step(trainer, batch_idx):
            trainer.check_val_every_n_epoch = 1
            trainer.should_stop = True


class ValidationLines(pl.Callback):
    """Callback that logs epoch, step, losses and recalls after each validation."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log one line."""
        if trainer.state.fn != "fit":
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        logger.info(
            "epoch %2d  step %5d  loss %s  val %.3f  i2t %.2f/%.2f/%.2f  t2i %.2f/%.2f/%.2f  mean R@1 %.2f  rsum %.1f",
            trainer.current_epoch,
            trainer.global_step,
            f"{metrics['train/loss']:.3f}" if "train/loss" in metrics else "–",  # nothing may have been logged yet
            *(metrics[f"val/{key}"] for key in ("loss", "i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10")),
            metrics["val/mean_r1"],
            metrics["val/rsum"],
        )
