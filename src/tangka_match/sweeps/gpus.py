"""GPUs of this machine by UUID, and leases of them that are released when their process ends."""

import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import torch

from tangka_match.errors import ConfigError, TrainingError
from tangka_match.sweeps.locks import try_acquire

POLL_SECONDS = 0.5
STOPPING = "the sweep is being stopped: no further job is started"


class Lease(NamedTuple):
    """Leased slot of a GPU; it is free again when the file is closed here and in every process that inherited it.

    Attributes:
        gpu: Name of the GPU for ``CUDA_VISIBLE_DEVICES``.
        file: Locked file.
    """

    gpu: str
    file: TextIO


class GpuSlots:
    """Slots of the GPUs of this machine, each for one trial at a time.

    Args:
        gpus: Names of the GPUs for ``CUDA_VISIBLE_DEVICES``, which also name the locks: UUIDs, since the index of a GPU
            depends on the environment.
        trials_per_gpu: Slots per GPU.
        folder: Folder of the lock files; by default one that all sweeps of this user on this machine share.

    Raises:
        ConfigError: If ``trials_per_gpu`` is below 1.
    """

    def __init__(self, gpus: Sequence[str], trials_per_gpu: int, folder: Path | None = None) -> None:
        if trials_per_gpu < 1:
            raise ConfigError(f"hydra.launcher.trials_per_gpu={trials_per_gpu} must be >= 1")
        # The number of the user, because a container may have no name for it.
        self._folder = folder or Path(tempfile.gettempdir()) / f"tangka_match-gpus-{os.getuid()}"
        # First slots of all GPUs come first, so that trials spread over GPUs before they share one.
        self._slots = [(gpu, slot) for slot in range(trials_per_gpu) for gpu in gpus]

    def __len__(self) -> int:
        return len(self._slots)

    def lease(self, stopping: threading.Event) -> Lease:
        """Lease the first free slot; waits while all are taken.

        Args:
            stopping: Event that ends the wait.

        Raises:
            TrainingError: If ``stopping`` is set.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        while not stopping.is_set():
            for gpu, slot in self._slots:
                file = (self._folder / f"gpu-{gpu.replace('/', '-')}-place-{slot}.lock").open("a")
                if try_acquire(file):
                    return Lease(gpu, file)
                file.close()
            stopping.wait(POLL_SECONDS)
        raise TrainingError(STOPPING)


def visible_gpus(wanted: Sequence[int] | None) -> list[str]:
    """Return the UUIDs of GPUs, which are their names for ``CUDA_VISIBLE_DEVICES``.

    A process sees only the first of several instances of partitioned GPUs (MIG), so that their names are taken from
    ``CUDA_VISIBLE_DEVICES``.

    Args:
        wanted: Indices as this process counts its GPUs, or in the list of MIG instances; ``None`` for all of them.

    Raises:
        ConfigError: If an index is out of range.
    """
    given = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    instances = [name for name in given if name.startswith("MIG-")]
    names = instances or [_uuid(index) for index in range(torch.cuda.device_count())]
    missing = [index for index in wanted or [] if not 0 <= index < len(names)]
    if missing:
        raise ConfigError(
            f"hydra.launcher.gpus={list(wanted or [])}: GPU {missing[0]} does not exist, this machine shows "
            f"{len(names)} GPU(s); leave the index out, or set trainer=cpu where there is no GPU"
        )
    return list(dict.fromkeys(names if wanted is None else [names[index] for index in wanted]))


def _uuid(index: int) -> str:
    """Return the UUID of a GPU; AMD's runtime takes indices only."""
    if torch.version.hip is not None:
        return str(index)
    uuid = str(torch.cuda.get_device_properties(index).uuid)
    return uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"
