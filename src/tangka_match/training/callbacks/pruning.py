"""Ends a run of a study early when it lags behind the other trials."""

import logging
from collections.abc import Callable

import pytorch_lightning as pl

from tangka_match.training.callbacks.best_checkpoint import MONITORED

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
