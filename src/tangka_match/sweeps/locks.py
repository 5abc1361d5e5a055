"""File locks that are released when their process ends."""

import fcntl
import os
import weakref
from pathlib import Path
from typing import TextIO

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
