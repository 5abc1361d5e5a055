"""File locks that end with the process that took them, whatever it has forked."""

import fcntl
import os
import weakref
from pathlib import Path
from typing import TextIO

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
