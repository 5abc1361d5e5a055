"""The folder of a sweep, ``runs/sweeps/<id>``: found again by a repeated command, and never shared by two sweeps."""

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
from tangka_match.sweeps.locks import acquire, is_locked, open_lock, try_acquire
from tangka_match.sweeps.manifest import Manifest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepFolder:
    """Files of a sweep.

    Args:
        path: Folder, named by the id of the sweep.
    """

    path: Path

    @property
    def sweep_id(self) -> str:
        """Time, short hash of the identity and four random digits; or the name that the user gave."""
        return self.path.name

    @property
    def manifest(self) -> Manifest:
        """List of the jobs and their state."""
        return Manifest(self.path / "manifest.jsonl")

    @property
    def journal(self) -> Path:
        """Optuna's journal (studies only)."""
        return self.path / "journal.log"

    def job_folder(self, number: int) -> Path:
        """Return the folder of a job: its lock, and its output if it runs in a separate process."""
        return self.path / "jobs" / str(number)

    @contextmanager
    def hold_job(self, number: int) -> Iterator[None]:
        """Hold the lock of a job while it is running."""
        self.job_folder(number).mkdir(parents=True, exist_ok=True)
        with open_lock(self.job_folder(number) / ".lock") as file:
            acquire(file)
            yield

    def is_held(self, number: int) -> bool:
        """Whether a process is running the job."""
        return is_locked(self.job_folder(number) / ".lock")

    def wait_for_job(self, number: int) -> None:
        """Wait until no process is running the job."""
        if self.is_held(number):
            with self.hold_job(number):
                logger.info("job %d has ended", number)

    @contextmanager
    def exclusive_step(self) -> Iterator[None]:
        """Exclude other processes while the next step of the sweep is decided."""
        with open_lock(self.path / ".step") as file:
            acquire(file)
            yield


@dataclass
class OpenSweep:
    """Sweep that this process is working on.

    Args:
        folder: Folder of the sweep.
        lock: Lock that is held until it is closed.
        alone: Whether no other process was working on the sweep when it was opened.
    """

    folder: SweepFolder
    lock: TextIO
    alone: bool


def open_sweep(root: Path, name: str | None, kind: str, identity: dict[str, Any], **header: Any) -> OpenSweep:
    """Continue the sweep that the same command began, or make a new folder.

    Without a name, the newest folder with the same identity that no process is working on is continued; otherwise a
    folder with a new id is made. With a name, several processes can work on the same study.

    Args:
        root: Folder of all sweeps.
        name: Name given by the user, or ``None``.
        kind: ``grid``, ``study`` or ``seeds``.
        identity: Plain values that two commands must share to be the same sweep.
        header: Further fields of the manifest's ``sweep`` event.

    Raises:
        ConfigError: If the named folder holds another sweep, or a grid that another process is working on.
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
            if try_acquire(lock):
                return OpenSweep(folder, _shared_if_study(lock, kind), alone=True)
            lock.close()
            logger.warning("%s: another process is working on the same sweep; starting a second one", folder.path)
        sweep_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{digest[:6]}-{secrets.token_hex(2)}"
        (root / sweep_id).mkdir()
        return _begin(SweepFolder(root / sweep_id), kind, identity, digest, header)
    except OSError as error:
        raise TrainingError(
            f"{error.filename or root}: cannot make the folder of the sweep ({error.strerror}); set paths.runs"
        ) from error


def process_info() -> dict[str, Any]:
    """Return the host name and process id, for the manifest."""
    return {"host": os.uname().nodename, "pid": os.getpid()}


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
            f"{_describe_difference(found.get('identity', {}), identity)}; choose another name, or repeat the command "
            "that began it"
        )
    lock = open_lock(folder.path / ".lock")
    alone = try_acquire(lock)
    if not alone and kind != "study":
        lock.close()
        raise ConfigError(f"sweep.name={folder.sweep_id}: another process is working on {folder.path}: wait for it")
    return OpenSweep(folder, _shared_if_study(lock, kind), alone=alone)


def _begin(folder: SweepFolder, kind: str, identity: dict[str, Any], digest: str, header: dict[str, Any]) -> OpenSweep:
    lock = open_lock(folder.path / ".lock")
    acquire(lock)
    folder.manifest.write("sweep", sweep=folder.sweep_id, kind=kind, digest=digest, identity=identity, **header)
    return OpenSweep(folder, _shared_if_study(lock, kind), alone=True)


def _shared_if_study(lock: TextIO, kind: str) -> TextIO:
    """Downgrade the lock of a study to a shared one, so that other processes can join."""
    if kind == "study":
        acquire(lock, fcntl.LOCK_SH)
    return lock


def _describe_difference(found: dict[str, Any], given: dict[str, Any]) -> str:
    """Describe the first setting that differs, with both values.

    >>> _describe_difference({"kind": "study", "space": {"a": "1,2"}}, {"kind": "study", "space": {"a": "1,3"}})
    "its space is {'a': '1,2'}, here it is {'a': '1,3'}"
    """
    for name in dict.fromkeys([*found, *given]):
        if found.get(name) != given.get(name):
            return f"its {name} is {_truncated(found.get(name))}, here it is {_truncated(given.get(name))}"
    return "it was begun with other settings"


def _truncated(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 300 else text[:300] + " …"
