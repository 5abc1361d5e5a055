"""Agreement of all processes on SIGTERM, between batches."""

from typing import Any

import pytorch_lightning as pl
import torch

from tangka_match.training.stopping import StopRequest


class AgreedStop(pl.Callback):
    """Callback that lets all processes agree between batches whether to stop; Lightning's loops then do.

    A validation is finished first if it takes a few seconds only, because ``last.ckpt`` is written after it.

    Args:
        stop: Request to stop of this process.
    """

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Note that all processes have started."""
        self._stop.is_connected = True

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Agree; the run stops after this batch, unless a validation follows."""
        self._agree(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Agree; the run stops after this batch, if the request has waited for too long."""
        self._agree(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Agree; the run stops after this epoch."""
        self._agree(trainer, now=True)

    def _agree(self, trainer: pl.Trainer, *, now: bool = False) -> None:
        def maximum(values: list[float]) -> list[float]:
            if trainer.world_size == 1:
                return values
            reduced = trainer.strategy.reduce(
                torch.tensor(values, device=trainer.strategy.root_device), reduce_op="max"
            )
            assert isinstance(reduced, torch.Tensor)
            return reduced.tolist()

        self._stop.agree(maximum, now=now or trainer.world_size == 1)
