"""Measures where the time of a run goes: data, forward and backward, optimizer, validation, checkpoints."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch.optim import Optimizer

from tangka_match.records.working_time import PHASES, WorkingTime
from tangka_match.training.callbacks.checkpoints import AtomicCheckpointIO
from tangka_match.training.distributed import is_logged_step

Moment = float | torch.cuda.Event
"""Seconds of the host's clock; on CUDA an event, which passes when the GPU has done all work queued before it."""


class PhaseTimer(pl.Callback):
    """Measures the seconds of each phase of `PHASES`, without making the host wait for the GPU.

    On CUDA the boundaries of the phases are events in the GPU's queue, so that the time of a phase is that of the work
    itself; where the GPU waits for the next batch, the gap counts as ``data``. They are read at logged steps, when the
    host waits for the GPU anyway. On other devices the host's clock is read.

    Args:
        report: Called at the end of each epoch, and when training ends, with the time since the last call.
    """

    def __init__(self, report: Callable[[WorkingTime], None]) -> None:
        self._report = report
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._busy: list[float] = []
        self._began = time.perf_counter()  # the hooks of other callbacks, such as a closed-form fit, come first
        self._last: Moment | None = None  # set when the first batch is about to be read
        self._unread: list[tuple[str, Moment, float]] = []  # phase, its end, seconds of checkpoints written in it
        self._written = 0.0
        self._has_stepped = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the phase ``start``."""
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)
        self._end_start(pl_module.device)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """End the phase ``data``."""
        self._has_stepped = False
        self._mark(trainer, pl_module, "data")

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """End the phase ``forward and backward``."""
        self._has_stepped = True
        self._mark(trainer, pl_module, "forward and backward")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End the phase ``optimizer``, or ``forward and backward`` if gradients are only accumulated."""
        self._mark(trainer, pl_module, "optimizer" if self._has_stepped else "forward and backward")
        if self._has_stepped and is_logged_step(trainer, trainer.global_step - 1):
            self._read()
            self._ask_gpu(pl_module.device)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End whatever came before the validation."""
        self._mark(trainer, pl_module, "other")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the phase ``validation``."""
        self._mark(trainer, pl_module, "validation")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the time of the epoch, so that a killed run loses at most that of its last one."""
        self._finish(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the time since the last epoch; of a resumed run whose training was over, that of its start."""
        if self._last is None:
            self._end_start(pl_module.device)
        self._finish(trainer, pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Report the time of a run that is stopped or fails."""
        if self._last is not None:
            with contextlib.suppress(RuntimeError):  # after an error of the GPU every call fails; the first one counts
                self._finish(trainer, pl_module)

    def _end_start(self, device: torch.device) -> None:
        self._seconds["start"] += time.perf_counter() - self._began
        self._last = _now(device)

    def _mark(self, trainer: pl.Trainer, module: pl.LightningModule, phase: str) -> None:
        """Count the time since the last mark as that of a phase, less that of checkpoints written meanwhile."""
        writer = trainer.strategy.checkpoint_io
        written = writer.seconds if isinstance(writer, AtomicCheckpointIO) else 0.0
        self._unread.append((phase, _now(module.device), written - self._written))
        self._written = written

    def _read(self) -> None:
        """Add up the phases since the last reading."""
        for phase, moment, checkpoints in self._unread:
            assert self._last is not None
            passed = _seconds_between(self._last, moment)
            self._seconds[phase] += max(passed - checkpoints, 0.0)
            self._seconds["checkpoints"] += checkpoints
            self._last = moment
        self._unread = []

    def _ask_gpu(self, device: torch.device) -> None:
        if device.type == "cuda":
            try:
                self._busy.append(float(torch.cuda.utilization(device)))
            except Exception:  # NVIDIA's library is missing, or does not answer for this GPU: errors of several types
                return

    def _finish(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._mark(trainer, module, "other")
        self._read()
        on_gpu = module.device.type == "cuda"
        self._report(
            WorkingTime(
                seconds={phase: seconds for phase, seconds in self._seconds.items() if seconds > 0},
                gpu_busy=sum(self._busy) / len(self._busy) if self._busy else None,
                peak_memory_mib=torch.cuda.max_memory_allocated(module.device) / 2**20 if on_gpu else None,
            )
        )
        self._seconds, self._busy = dict.fromkeys(PHASES, 0.0), []


def _now(device: torch.device) -> Moment:
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def _seconds_between(first: Moment, last: Moment) -> float:
    if isinstance(first, float) or isinstance(last, float):
        assert isinstance(first, float)
        assert isinstance(last, float)
        return last - first
    last.synchronize()
    return first.elapsed_time(last) / 1000
