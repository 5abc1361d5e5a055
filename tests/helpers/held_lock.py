"""Lock of a run that another process holds."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

from tangka_match.records.run_folder import RunFolder


@contextmanager
def held_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a run in a fork of this process until the block ends."""
    context = multiprocessing.get_context("fork")
    held, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(folder, held, done))
    process.start()
    assert held.wait(60)
    yield
    done.set()
    process.join()


def _hold(folder: Path, held: Event, done: Event) -> None:
    with RunFolder(folder.name, folder, folder).lock():
        held.set()
        done.wait(60)
