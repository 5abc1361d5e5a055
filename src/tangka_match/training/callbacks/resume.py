"""Exact resume: the random state and the position in the data, saved with and restored from a checkpoint.

Lightning restores weights, optimizer, schedules and loop counters. It does not restore the random generators (dropout,
augmentation) nor the position in the epoch's batches; with both, a resumed run ends with the bits of an unbroken one.
"""

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from tangka_match.data.samplers import ResumableBatchSampler
from tangka_match.errors import CheckpointError


def random_state() -> dict[str, Any]:
    """States of torch's, NumPy's and Python's global generators, as tensors and plain values."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(name), [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
        "python": [version, list(words), gauss],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put the global generators back to what ``random_state`` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))


class ExactResume(pl.Callback):
    """Saves and restores random state and data position.

    Args:
        sampler: The training batch sampler; told where to start before its first iteration.
    """

    def __init__(self, sampler: ResumableBatchSampler) -> None:
        self._sampler = sampler
        self._random: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the state. Consumed batches are counted by the loop: workers read ahead of it."""
        fit_loop: Any = trainer.fit_loop
        epoch, consumed = (
            fit_loop.epoch_progress.current.processed,
            fit_loop.epoch_loop.batch_progress.current.processed,
        )
        between_epochs = fit_loop.epoch_progress.current.ready == epoch
        if not between_epochs and consumed >= len(self._sampler):
            epoch, between_epochs = epoch + 1, True
        first, *others = _of_all_processes(trainer.world_size, random_state())
        checkpoint["exact_resume"] = {
            "epoch": epoch,
            "batch": 0 if between_epochs else consumed,
            "random": first,
            "random_of_others": others,
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Tell the sampler where to go on, and keep the random state for the first batch."""
        averages = any(isinstance(c, pl.callbacks.WeightAveraging) for c in trainer.callbacks)  # type: ignore[attr-defined]
        if averages != ("averaging_state" in checkpoint):
            raise CheckpointError(
                f"the checkpoint was written {'without' if averages else 'with'} weight averaging, but here weights "
                f"are {'averaged' if averages else 'not averaged'} (training.ema_decay, training.swa_begin): going on "
                "from it would silently train other weights. Resume the run by its id (resume=<run id>), which keeps "
                "its settings"
            )
        state = checkpoint.get("exact_resume")
        if state is None:
            raise CheckpointError(
                "the checkpoint does not say where in the data it was written, so nothing can go on from it exactly: "
                "it was changed after this project wrote it. Start a new run"
            )
        self._sampler.start_at(state["epoch"], state["batch"])
        states = [state["random"], *state.get("random_of_others", [])]
        self._random = states[trainer.global_rank % len(states)]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore at the first batch: loading the model and the first read may have drawn random numbers."""
        if self._random is not None:
            restore_random_state(self._random)
            self._random = None


def _of_all_processes(count: int, state: dict[str, Any]) -> list[Any]:
    """The states of the processes that train together; captions of other lengths draw other numbers in each."""
    if count == 1:
        return [state]
    states: list[Any] = [None] * count
    torch.distributed.all_gather_object(states, state)
    return states
