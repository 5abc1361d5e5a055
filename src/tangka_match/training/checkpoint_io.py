"""Writing checkpoints so that a failed write never costs the previous one."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from tangka_match.errors import TrainingError


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
