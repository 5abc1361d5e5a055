"""``best.ckpt`` and ``last.ckpt``, written so that a failed write never costs the previous file."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.exceptions import SIGTERMException

from tangka_match.errors import TrainingError
from tangka_match.metric_names import DEFAULT_MONITOR


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, flushes to the disk, then renames: the target is the old file or the new, never half.

    Lightning's own writer goes through the system's temporary folder, from which a move is a copy when that is another
    file system.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint, or leave what is there.

        Raises:
            TrainingError: If the disk is full or the folder cannot be written to; the previous file is untouched.
        """
        target = Path(path)
        partial = target.with_name(target.name + ".partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except (OSError, RuntimeError) as error:  # torch turns some write errors into RuntimeError
            with contextlib.suppress(OSError):  # there may be no such folder
                partial.unlink()
            reason = (str(error) or type(error).__name__).splitlines()[0]
            free = shutil.disk_usage(next(folder for folder in target.parents if folder.exists())).free
            kept = "the previous one is untouched" if target.exists() else "there is no earlier one"
            raise TrainingError(
                f"{target}: cannot write the checkpoint ({reason}; {free:,} bytes are free on that disk); {kept}. "
                "Free space on that disk and go on with resume=<run id>; or move the whole folder of checkpoints to "
                "another disk, and give paths.checkpoints=<its new place> as well"
            ) from error


MONITORED = DEFAULT_MONITOR


class BestCheckpoint(pl.callbacks.ModelCheckpoint):
    """Writes ``best.ckpt`` after each validation that beats all before, wherever in an epoch it falls.

    Lightning's own callback forgets the best score when its folder has moved, and a worse epoch of the resumed run
    would then replace the best weights; this one goes by the folder where the run is now.

    Args:
        folder: Of ``best.ckpt``.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            "best",
            monitor=MONITORED,
            mode="max",
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned, in the present folder."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        moved = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        kept = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": kept, "dirpath": self.dirpath})


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
