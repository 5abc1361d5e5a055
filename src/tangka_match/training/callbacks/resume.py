"""Exact resume: the random state and the position in the data are part of a checkpoint.

Lightning restores weights, optimizer, schedules and loop counters, but neither the random generators (dropout,
augmentation) nor the position in the batches of an epoch. With both, a resumed run has bitwise the same result as an
uninterrupted one. With more than two processes the gradients must also be summed in the same order; see
`fix_buckets`.
"""

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.nn.parallel import DistributedDataParallel

from tangka_match.data.samplers import ResumableBatchSampler
from tangka_match.errors import CheckpointError


def random_state() -> dict[str, Any]:
    """Return the states of the global generators of torch, NumPy and Python, as tensors and plain values.

    Of the GPUs only the one of this process counts: another machine may have fewer.
    """
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
        "mps": [torch.mps.get_rng_state()] if torch.backends.mps.is_available() else [],
        "numpy": [str(name), [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
        "python": [version, list(words), gauss],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Set the global generators to what ``random_state`` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        # Older checkpoints hold the states of all GPUs of their machine.
        torch.cuda.set_rng_state(state["cuda"][min(torch.cuda.current_device(), len(state["cuda"]) - 1)])
    if state.get("mps") and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"][0])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))


def fix_buckets(model: DistributedDataParallel) -> None:
    """Put the gradients of a model into the buckets in which DDP sums them over the processes in all steps.

    The place of a gradient in its bucket decides in which order its values are summed. After the first step DDP orders
    the buckets anew, by when gradients were computed, so the first step of a resumed run would sum in another order
    than the same step of an uninterrupted run. With this order, fixed before the first step, less of the communication
    overlaps with the backward pass.

    Args:
        model: Model of which no step has been taken. All processes must call this function.
    """
    # DDP calls both for processes that run out of batches (``join``); torch has no public way.
    model.reducer._push_all_rebuilt_params()
    model.reducer._rebuild_buckets()


class ExactResume(pl.Callback):
    """Callback that saves and restores the random state and the position in the data.

    On a CPU, and with ``trainer.deterministic=true``, it also keeps the order in which more than two processes sum
    gradients; two numbers have the same sum in either order.

    Args:
        sampler: Batch sampler of the training data.
    """

    def __init__(self, sampler: ResumableBatchSampler) -> None:
        self._sampler = sampler
        self._random: dict[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fix the order in which gradients are summed, where sums can be equal to the last bit."""
        model = trainer.strategy.model
        is_exact = pl_module.device.type == "cpu" or torch.are_deterministic_algorithms_enabled()
        if isinstance(model, DistributedDataParallel) and trainer.world_size > 2 and is_exact:
            fix_buckets(model)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the state; the loop counts the consumed batches, because workers read ahead of it."""
        fit_loop: Any = trainer.fit_loop
        epoch, consumed = (
            fit_loop.epoch_progress.current.processed,
            fit_loop.epoch_loop.batch_progress.current.processed,
        )
        between_epochs = fit_loop.epoch_progress.current.ready == epoch
        if not between_epochs and consumed >= trainer.num_training_batches:
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
        """Set the position of the sampler, and keep the random state for the first batch."""
        averages = any(isinstance(c, pl.callbacks.WeightAveraging) for c in trainer.callbacks)  # type: ignore[attr-defined]
        if averages != ("averaging_state" in checkpoint):
            raise CheckpointError(
                f"the checkpoint was written {'without' if averages else 'with'} weight averaging, but here weights "
                f"are {'averaged' if averages else 'not averaged'} (training.ema_decay, training.swa_begin): other "
                "weights would be trained. Resume the run by its id (resume=<run id>), which keeps its settings"
            )
        state = checkpoint.get("exact_resume")
        if state is None:
            raise CheckpointError(
                "the checkpoint lacks the position in the data, so no run can continue from it exactly: it was changed "
                "after it was written. Start a new run"
            )
        self._sampler.start_at(state["epoch"], state["batch"])
        states = [state["random"], *state.get("random_of_others", [])]
        self._random = states[trainer.global_rank % len(states)]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore the random state; loading the model and the first batch may have drawn random numbers."""
        if self._random is not None:
            restore_random_state(self._random)
            self._random = None


def _of_all_processes(count: int, state: dict[str, Any]) -> list[Any]:
    """Gather the random states of all processes; they differ, because the captions of each differ in length."""
    if count == 1:
        return [state]
    states: list[Any] = [None] * count
    torch.distributed.all_gather_object(states, state)
    return states
