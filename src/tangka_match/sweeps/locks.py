"""File locks that are released when their process ends, and leases of GPUs built on them."""

import fcntl
import getpass
import os
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from tangka_match.errors import ConfigError

POLL_SECONDS = 0.5

_OPEN_LOCKS: "weakref.WeakSet[TextIO]" = weakref.WeakSet()


def open_lock(path: Path) -> TextIO:
    """Open a lock file; forked processes close their copy at once.

    ``flock`` locks are inherited by forks, and data-loader workers outlive a killed run by seconds. ``lockf`` locks are
    not inherited, but do not exclude two threads or two studies of one process.
    """
    file = path.open("a")
    _OPEN_LOCKS.add(file)
    return file


def _close_in_child() -> None:
    for file in list(_OPEN_LOCKS):
        file.close()  # the lock stays with the parent


os.register_at_fork(after_in_child=_close_in_child)


def acquire(file: TextIO, how: int = fcntl.LOCK_EX) -> None:
    """Wait for a lock; a lock that is already held is changed to ``how``."""
    fcntl.flock(file, how)


def try_acquire(file: TextIO, how: int = fcntl.LOCK_EX) -> bool:
    """Take a lock if it is free, and return whether it was."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file."""
    if not path.exists():
        return False
    with path.open("a") as file:
        return not try_acquire(file, fcntl.LOCK_SH)


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
        gpus: Names of the GPUs for ``CUDA_VISIBLE_DEVICES``.
        trials_per_gpu: Slots per GPU.
        folder: Folder of the lock files; by default one that all sweeps of this user on this machine share.

    Raises:
        ConfigError: If ``trials_per_gpu`` is below 1.
    """

    def __init__(self, gpus: Sequence[str], trials_per_gpu: int, folder: Path | None = None) -> None:
        if trials_per_gpu < 1:
            raise ConfigError(f"hydra.launcher.trials_per_gpu={trials_per_gpu} must be >= 1")
        self._folder = folder or Path(tempfile.gettempdir()) / f"tangka_match-gpus-{getpass.getuser()}"
        # First slots of all GPUs come first, so that trials spread over GPUs before they share one.
        self._slots = [(gpu, slot) for slot in range(trials_per_gpu) for gpu in gpus]

    def __len__(self) -> int:
        return len(self._slots)

    def lease(self) -> Lease:
        """Lease the first free slot; waits while all are taken."""
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            for gpu, slot in self._slots:
                file = (self._folder / f"gpu-{gpu}-place-{slot}.lock").open("a")
                if try_acquire(file):
                    return Lease(gpu, file)
                file.close()
            time.sleep(POLL_SECONDS)


def visible_gpus(wanted: Sequence[int] | None, count: int) -> list[str]:
    """Return the names of GPUs for ``CUDA_VISIBLE_DEVICES``.

    Args:
        wanted: Indices as this process counts its GPUs; ``None`` for all of them.
        count: Number of GPUs that this process sees.

    Raises:
        ConfigError: If an index is out of range.
    """
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    missing = [index for index in wanted or [] if not 0 <= index < count]
    if missing:
        raise ConfigError(
            f"hydra.launcher.gpus={list(wanted or [])}: GPU {missing[0]} does not exist, this machine shows {count} "
            "GPU(s); leave the index out, or set trainer=cpu where there is no GPU"
        )
    return [names[index] if names else str(index) for index in (range(count) if wanted is None else wanted)]
