"""The run folder: everything to repeat a run, under an id that no other run has."""

import fcntl
import hashlib
import json
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tangka_match.errors import ConfigError, TrainingError
from tangka_match.records.run_files import LAST, choose_run
from tangka_match.records.setting_names import NON_DECISIVE_KEYS, with_first_names

RUN_ID_VARIABLE = "TANGKA_MATCH_RUN_ID"


@dataclass(frozen=True)
class RunFolder:
    """A run's two folders: records under ``runs/<id>``, weights under ``checkpoints/<name>/<id>``.

    Args:
        run_id: Time, short config hash and four random digits: ``20261124-034512-3fa9c1-7be2``.
        path: Of the records.
        checkpoints: Of ``best.ckpt``, ``last.ckpt`` and ``meta.json``.
    """

    run_id: str
    path: Path
    checkpoints: Path

    @property
    def config(self) -> Path:
        """The composed config, as YAML."""
        return self.path / "config.yaml"

    @property
    def ledger(self) -> Path:
        """Events and metrics, a JSON object a line."""
        return self.path / "ledger.jsonl"

    @property
    def ranks(self) -> Path:
        """Ranks of ``best.ckpt`` on validation, a row a query."""
        return self.path / "ranks.csv"

    @property
    def best(self) -> Path:
        """The checkpoint with the highest ``val/mean_r1``."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """The checkpoint from which the run goes on."""
        return self.checkpoints / "last.ckpt"

    def lock(self) -> TextIO:
        """Hold the run for this process until the returned file is closed, or the process ends in whatever way.

        A lock of the process (``lockf``) and not of the file (``flock``): that one is inherited by the processes that
        read data, and they outlive a killed run by seconds.

        Raises:
            TrainingError: If another process is running it.
        """
        file = (self.path / ".lock").open("a+", encoding="utf-8")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # EACCES or EAGAIN, by system
            file.seek(0)
            owner = file.read().strip() or "unknown"
            file.close()
            raise TrainingError(
                f"run {self.run_id} is still going (process {owner}): wait for it, or stop it first"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        return file


def config_hash(config: dict[str, Any]) -> str:
    """Short hash of the settings that decide a run's numbers; where it writes and logs is left out."""
    return hashlib.sha256(decisive_settings(config).encode()).hexdigest()[:6]


def decisive_settings(config: dict[str, Any]) -> str:
    """The settings that decide a run's numbers, as text: two configs with the same text give the same run."""
    kept = {key: value for key, value in config.items() if key not in NON_DECISIVE_KEYS}
    return json.dumps(with_first_names(kept), sort_keys=True, ensure_ascii=False)


def create_run_folder(
    runs: Path, checkpoints: Path, name: str, digest: str, *, is_main: bool = True, processes: int = 1
) -> RunFolder:
    """Make the folders of a new run; two runs started in the same second get two ids.

    The other ranks of a distributed run join the first one's folder: Lightning starts them after it has left its id in
    the environment. ``torchrun`` and ``srun`` start all at once, so there the environment must give the id.

    Args:
        runs: Folder of all runs' records.
        checkpoints: Folder of all checkpoints.
        name: Of the experiment.
        digest: ``config_hash`` of the run.
        is_main: Whether this process writes the records.
        processes: Number of processes that ``torchrun`` or ``srun`` started together; 1 where Lightning starts them.

    Raises:
        ConfigError: If processes that were started together were given no run id, or one that is taken.
        TrainingError: If the folder cannot be made.
    """
    if not is_main or processes > 1:
        run_id = _given_run_id(processes)
        folder = RunFolder(run_id, runs / run_id, checkpoints / name / run_id)
        if not is_main or _make(folder):
            return folder
        raise ConfigError(
            f"{RUN_ID_VARIABLE}={run_id}: there is such a run already, in {folder.path} or {folder.checkpoints}: "
            "choose another id" + (f", or go on with resume={run_id}" if folder.config.exists() else "")
        )
    while True:  # until no other run of this second has drawn the same digits
        run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{digest}-{secrets.token_hex(2)}"
        folder = RunFolder(run_id, runs / run_id, checkpoints / name / run_id)
        if _make(folder):
            return folder


def _make(folder: RunFolder) -> bool:
    """Make both folders, or none and return ``False`` where one of them is there already."""
    try:
        folder.path.mkdir(parents=True)
        folder.checkpoints.mkdir(parents=True)
    except OSError as error:
        if error.filename != str(folder.path) and folder.path.is_dir():
            folder.path.rmdir()  # made a moment ago
        if isinstance(error, FileExistsError) and error.filename in (str(folder.path), str(folder.checkpoints)):
            return False
        raise TrainingError(
            f"{error.filename}: cannot make the run folder ({error.strerror}); set paths.runs and paths.checkpoints"
        ) from error
    return True


def _given_run_id(processes: int) -> str:
    run_id = os.environ.get(RUN_ID_VARIABLE, "")
    if run_id == LAST or not re.fullmatch(r"\w[\w.-]*", run_id):
        raise ConfigError(
            f"{RUN_ID_VARIABLE}={run_id!r}: the {processes} processes that were started together need one run id: set "
            f"the variable to a new name of letters, digits, dots and dashes (not {LAST!r}), the same for all of them"
        )
    return run_id


def find_run(runs: Path, run_id: str, setting: str = "resume") -> Path:
    """Find a run's folder by its id, an unambiguous beginning of it, or ``last``.

    Args:
        runs: Folder of all runs' records.
        run_id: What was given.
        setting: Where it was given, for messages.

    Raises:
        ConfigError: If there is no such run, or several fit; the message lists the newest.
    """
    configs = sorted(runs.glob("*/config.yaml"), key=lambda path: (path.stat().st_mtime_ns, path.parent.name))
    return runs / choose_run([path.parent.name for path in configs], run_id, setting, runs)
