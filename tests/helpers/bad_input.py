"""Helpers for tests of invalid input: overrides for a tiny set, and assertions about a failed command."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from helpers.cli import Finished

SMALL = ("+experiment=debug", "data=precomp", "data.batch_size=4", "scheduler.warmup_steps=1")
ONE_EPOCH = ("trainer.max_steps=-1", "trainer.max_epochs=1")


def places(folder: Path) -> tuple[str, ...]:
    """Return overrides that keep all files of a command under ``folder``; its data set is ``set``."""
    names = {"paths.runs": "runs", "paths.checkpoints": "checkpoints", "paths.data": "data", "data.root": "set"}
    return tuple(f"{key}={folder / name}" for key, name in names.items())


def contents(folder: Path) -> dict[str, str | None]:
    """Return all files and folders with a hash of their content, without the lock files of runs."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name != ".lock"
    }


def assert_one_message(done: Finished, *patterns: str) -> None:
    """Assert exit code 2, no traceback, and one message on stderr that matches all patterns."""
    assert done.code == 2, done
    assert "Traceback" not in done.stdout + done.stderr
    assert re.match(r"[A-Z]\w+Error: ", done.stderr), done.stderr
    assert len(re.findall(r"(?m)^\S*(?:Error|Exception|Warning)\b", done.stderr)) == 1, done.stderr
    for pattern in patterns:
        assert re.search(pattern, done.stderr), done.stderr


class Bomb:
    """Object that creates a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.mark),)
