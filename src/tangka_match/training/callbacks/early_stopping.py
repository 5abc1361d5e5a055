"""Early stopping that survives a kill."""

import pytorch_lightning as pl

from tangka_match.training.callbacks.best_checkpoint import MONITORED


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
