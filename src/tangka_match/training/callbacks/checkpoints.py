"""Callbacks that write ``best.ckpt`` and ``last.ckpt``; a failed write keeps the previous file."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.exceptions import SIGTERMException

from tangka_match.errors import TrainingError
from tangka_match.training.distributed import ends_step
from tangka_match.training.settings import monitor_mode


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint writer whose target is always a complete file, the old or the new one.

    It writes to a file beside the target, flushes it to disk and renames it. Lightning's own writer goes through the
    system's temporary folder, which may be on another file system, and then a move is a copy.

    Attributes:
        seconds: Time spent writing so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint; if that fails, the previous file is kept.

        Args:
            checkpoint: Content of the checkpoint.
            path: Path of the file.
            storage_options: Ignored.

        Raises:
            TrainingError: If the disk is full or the folder is not writable.
        """
        began = time.perf_counter()
        target = Path(path)
        partial = target.with_name(target.name + ".partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
            self.seconds += time.perf_counter() - began
        except (OSError, RuntimeError) as error:  # torch turns some write errors into RuntimeError
            with contextlib.suppress(OSError):  # the folder may not exist
                partial.unlink()
            reason = (str(error) or type(error).__name__).splitlines()[0]
            free = shutil.disk_usage(next(folder for folder in target.parents if folder.exists())).free
            kept = "the previous one is kept" if target.exists() else "there is no earlier one"
            raise TrainingError(
                f"{target}: cannot write the checkpoint ({reason}; {free:,} bytes are free on that disk); {kept}. "
                "Free space on that disk and continue with resume=<run id>; or move the whole folder of checkpoints to "
                "another disk, and give paths.checkpoints=<new folder> as well"
            ) from error


class BestCheckpoint(pl.callbacks.ModelCheckpoint):
    """Callback that writes ``best.ckpt`` after each validation with a new best value of the monitored metric.

    Lightning's own callback forgets the best value if the folder has been moved, and a worse epoch of the resumed run
    then replaces the best weights. This one uses the current folder.

    Args:
        folder: Folder of ``best.ckpt``.
        monitor: Name of the monitored metric, such as ``val/mean_r1``.

    Raises:
        ConfigError: If ``monitor`` is not a metric of validation.
    """

    def __init__(self, folder: Path, monitor: str) -> None:
        super().__init__(
            folder,
            "best",
            monitor=monitor,
            mode=monitor_mode(monitor),
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned, with paths in the current folder."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        moved = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        kept = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": kept, "dirpath": self.dirpath})


class LastCheckpoint(Checkpoint):
    """Callback that writes ``last.ckpt`` at the end of each epoch, every n steps within an epoch, and on SIGTERM.

    It does not write on Ctrl-C or an error, which can happen in the middle of an optimizer step, nor while gradients
    are being accumulated, because a checkpoint does not hold them. A resumed run repeats the steps since the last
    write, with bitwise equal results. Lightning logs the metrics of a step after this callback: a kill between the two
    leaves the weights exact, but the metrics of that one step are missing in the ledger.

    Args:
        path: Path of ``last.ckpt``.
        every_n_steps: Optimizer steps between writes within an epoch.
        written: Function called after each write with the number of optimizer steps done.
    """

    def __init__(self, path: Path, every_n_steps: int, written: Callable[[int], None]) -> None:
        self._path = path
        self._every = every_n_steps
        self._written = written

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write within an epoch; the last batch is covered by the end of the epoch, after validation."""
        is_last = batch_idx + 1 >= trainer.num_training_batches
        if trainer.global_step % self._every == 0 and not is_last and ends_step(trainer, batch_idx):
            self._write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write after the validation of the epoch."""
        self._write(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Write on SIGTERM, which Lightning raises between batches, when the state is consistent."""
        if not isinstance(exception, SIGTERMException) or trainer.validating:
            return
        loop: Any = trainer.fit_loop.epoch_loop
        batches = int(loop.batch_progress.current.completed)
        if batches == 0 or ends_step(trainer, batches - 1):
            self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self._path)
        self._written(trainer.global_step)
