"""``last.ckpt``: where a stopped run goes on, written at points from which resume is exact."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException


class LastCheckpoint(Checkpoint):
    """Writes ``last.ckpt`` at each epoch's end, every so many steps within an epoch, and on SIGTERM.

    Not on Ctrl-C or an error: those can fall in the middle of an optimizer step, and a half-updated model must not
    replace a good file. A killed run loses the steps since the last write and repeats them, with the same bits.

    Args:
        path: Of ``last.ckpt``.
        every_n_steps: Optimizer steps between writes within an epoch.
        written: Called after each write with the optimizer steps that the file holds.
    """

    def __init__(self, path: Path, every_n_steps: int, written: Callable[[int], None]) -> None:
        self._path = path
        self._every = every_n_steps
        self._written = written

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write within an epoch; the last batch is left to the epoch's end, after validation."""
        if trainer.global_step % self._every == 0 and batch_idx + 1 < trainer.num_training_batches:
            self._write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write after the epoch's validation."""
        self._write(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Write when asked to end: Lightning raises SIGTERM between batches, so the state is whole."""
        if isinstance(exception, SIGTERMException) and not trainer.validating:
            self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self._path)
        self._written(trainer.global_step)
