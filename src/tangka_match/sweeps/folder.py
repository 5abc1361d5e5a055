"""The folder of a sweep, ``runs/sweeps/<id>``: never shared by accident, found again when the sweep is."""

import fcntl
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tangka_match.errors import ConfigError, TrainingError
from tangka_match.sweeps.locks import is_locked, open_lock, take, try_to_take
from tangka_match.sweeps.manifest import Manifest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepFolder:
    """Where a sweep keeps its books.

    Args:
        path: Of the folder; its name is the sweep's id.
    """

    path: Path

    @property
    def sweep_id(self) -> str:
        """Time, short hash of what is swept and four random digits, or the name that the user gave."""
        return self.path.name

    @property
    def manifest(self) -> Manifest:
        """Everything that happened."""
        return Manifest(self.path / "manifest.jsonl")

    @property
    def journal(self) -> Path:
        """Optuna's journal, of a study."""
        return self.path / "journal.log"

    def job_folder(self, number: int) -> Path:
        """Of one job: its lock, and its output where it has a process of its own."""
        return self.path / "jobs" / str(number)

    @contextmanager
    def hold_job(self, number: int) -> Iterator[None]:
        """Show, as long as this process lives, that the job is being done."""
        self.job_folder(number).mkdir(parents=True, exist_ok=True)
        with open_lock(self.job_folder(number) / ".lock") as file:
            take(file)
            yield

    def is_held(self, number: int) -> bool:
        """Whether a living process is doing the job."""
        return is_locked(self.job_folder(number) / ".lock")

    @contextmanager
    def exclusive_step(self) -> Iterator[None]:
        """Let one process at a time decide what comes next."""
        with open_lock(self.path / ".step") as file:
            take(file)
            yield


@dataclass
class OpenSweep:
    """A sweep that this process works on.

    Args:
        folder: Of the sweep.
        lock: Held until closed; other controllers see it.
        alone: Whether no other process worked on it when it was opened.
        is_new: Whether the folder was made now.
    """

    folder: SweepFolder
    lock: TextIO
    alone: bool
    is_new: bool


def open_sweep(root: Path, name: str | None, kind: str, identity: dict[str, Any], **header: Any) -> OpenSweep:
    """Go on with the sweep that this command began, or make a new folder.

    Without a name, the newest folder with the same identity that no process is working on is taken up again. Two
    sweeps started in the same second get two folders. A name is meant for several processes: they share its folder if
    it is a study's.

    Args:
        root: Folder of all sweeps.
        name: As the user gave it, or ``None``.
        kind: ``grid``, ``study`` or ``seeds``.
        identity: Plain values that make a sweep the same sweep.
        header: Further facts for the manifest's first line.

    Raises:
        ConfigError: If the named folder holds another sweep, or a grid that is still going.
        TrainingError: If the folder cannot be made.
    """
    identity = {"kind": kind, **identity}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    try:
        root.mkdir(parents=True, exist_ok=True)
        if name is not None:
            return _open_named(SweepFolder(root / name), kind, identity, digest, header)
        for path in sorted(root.glob("*/manifest.jsonl"), reverse=True):
            folder = SweepFolder(path.parent)
            if folder.manifest.read().header.get("digest") != digest:
                continue
            lock = open_lock(folder.path / ".lock")
            if try_to_take(lock):
                return OpenSweep(folder, _shared(lock, kind), alone=True, is_new=False)
            lock.close()
            logger.warning("%s: another process is doing the same sweep; this one does it once more", folder.path)
        sweep_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{digest[:6]}-{secrets.token_hex(2)}"
        (root / sweep_id).mkdir()
        return _begin(SweepFolder(root / sweep_id), kind, identity, digest, header)
    except OSError as error:
        raise TrainingError(
            f"{error.filename or root}: cannot make the folder of the sweep ({error.strerror}); set paths.runs"
        ) from error


def _open_named(
    folder: SweepFolder, kind: str, identity: dict[str, Any], digest: str, header: dict[str, Any]
) -> OpenSweep:
    folder.path.mkdir(exist_ok=True)
    with folder.exclusive_step():
        found = folder.manifest.read().header
        if not found:
            return _begin(folder, kind, identity, digest, header)
    if found["digest"] != digest:
        raise ConfigError(
            f"sweep.name={folder.sweep_id}: {folder.path} holds another sweep: "
            f"{_difference(found.get('identity', {}), identity)}; choose another name, or give what it was begun with"
        )
    lock = open_lock(folder.path / ".lock")
    alone = try_to_take(lock)
    if not alone and kind != "study":
        lock.close()
        raise ConfigError(f"sweep.name={folder.sweep_id}: another process is working on {folder.path}: wait for it")
    return OpenSweep(folder, _shared(lock, kind), alone=alone, is_new=False)


def _begin(folder: SweepFolder, kind: str, identity: dict[str, Any], digest: str, header: dict[str, Any]) -> OpenSweep:
    lock = open_lock(folder.path / ".lock")
    take(lock)
    folder.manifest.write("sweep", sweep=folder.sweep_id, kind=kind, digest=digest, identity=identity, **header)
    return OpenSweep(folder, _shared(lock, kind), alone=True, is_new=True)


def _shared(lock: TextIO, kind: str) -> TextIO:
    """Others may join a study."""
    if kind == "study":
        take(lock, fcntl.LOCK_SH)
    return lock


def _difference(found: dict[str, Any], given: dict[str, Any]) -> str:
    """The first setting that differs, with both values.

    >>> _difference({"kind": "study", "space": {"a": "1,2"}}, {"kind": "study", "space": {"a": "1,3"}})
    "its space is {'a': '1,2'}, here it is {'a': '1,3'}"
    """
    for name in dict.fromkeys([*found, *given]):
        if found.get(name) != given.get(name):
            return f"its {name} is {_short(found.get(name))}, here it is {_short(given.get(name))}"
    return "it was begun with other settings"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 300 else text[:300] + " …"


def process_facts() -> dict[str, Any]:
    """Host and process id, for the manifest."""
    return {"host": os.uname().nodename, "pid": os.getpid()}
