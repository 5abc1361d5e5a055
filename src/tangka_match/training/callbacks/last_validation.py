"""A validation at the run's last step, wherever in an epoch that falls."""

from typing import Any

import pytorch_lightning as pl


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
