"""File locks that end with their process, and leases of GPUs built on them."""

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

_HELD: "weakref.WeakSet[TextIO]" = weakref.WeakSet()


def open_lock(path: Path) -> TextIO:
    """Open a file to lock.

    A lock of the file (``flock``) is inherited by forks, and the readers of a killed run outlive it by seconds: they
    let go of it at once. A lock of the process (``lockf``) would not do: two threads or two studies of one process
    have to exclude each other too.
    """
    file = path.open("a")
    _HELD.add(file)
    return file


def _let_go() -> None:
    for file in list(_HELD):
        file.close()  # the parent's lock stays: it ends with the last copy, or when it is given up by name


os.register_at_fork(after_in_child=_let_go)


def take(file: TextIO, how: int = fcntl.LOCK_EX) -> None:
    """Wait for the lock; one that is held is changed to ``how``."""
    fcntl.flock(file, how)


def try_to_take(file: TextIO, how: int = fcntl.LOCK_EX) -> bool:
    """Whether the lock could be taken at once."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock of a file; the system frees those of a killed one."""
    if not path.exists():
        return False
    with path.open("a") as file:
        return not try_to_take(file, fcntl.LOCK_SH)


POLL_SECONDS = 0.5


class Lease(NamedTuple):
    """A place on a GPU; free again when the file is closed, here and in the process that inherited it."""

    gpu: str
    file: TextIO


class GpuPlaces:
    """The places on this machine's GPUs.

    Args:
        gpus: As ``CUDA_VISIBLE_DEVICES`` names them.
        trials_per_gpu: Places on each.
        folder: Of the lock files; one for all sweeps of a user on this machine unless given.

    Raises:
        ConfigError: If ``trials_per_gpu`` is under 1.
    """

    def __init__(self, gpus: Sequence[str], trials_per_gpu: int, folder: Path | None = None) -> None:
        if trials_per_gpu < 1:
            raise ConfigError(f"hydra.launcher.trials_per_gpu={trials_per_gpu}; allowed: 1 and more")
        self._folder = folder or Path(tempfile.gettempdir()) / f"tangka_match-gpus-{getpass.getuser()}"
        # The first place of every GPU before the second of any: trials spread out before they share.
        self._places = [(gpu, place) for place in range(trials_per_gpu) for gpu in gpus]

    def __len__(self) -> int:
        return len(self._places)

    def lease(self) -> Lease:
        """Take the first free place; waits while other processes hold them all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            for gpu, place in self._places:
                file = (self._folder / f"gpu-{gpu}-place-{place}.lock").open("a")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.close()
                else:
                    return Lease(gpu, file)
            time.sleep(POLL_SECONDS)


def visible_gpus(wanted: Sequence[int] | None, count: int) -> list[str]:
    """The GPUs to share out, by the names that ``CUDA_VISIBLE_DEVICES`` takes.

    Args:
        wanted: Indices as this process counts its GPUs; ``None`` takes every one.
        count: GPUs that this process sees.

    Raises:
        ConfigError: If one is asked for that is not there.
    """
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    missing = [index for index in wanted or [] if not 0 <= index < count]
    if missing:
        raise ConfigError(
            f"hydra.launcher.gpus={list(wanted or [])}: this machine shows {count} GPU(s), so there is no number "
            f"{missing[0]}; leave it out, or set trainer=cpu where there is no GPU"
        )
    return [names[index] if names else str(index) for index in (range(count) if wanted is None else wanted)]
