"""The folder of a run, under a unique id: its files, its lock, and the hash of its settings."""

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

from tangka_match.errors import ConfigError, DataFormatError, TrainingError
from tangka_match.metric_names import PRIMARY_METRIC
from tangka_match.records.run_files import LAST, choose_run
from tangka_match.records.saved_files import read_mapping
from tangka_match.records.schema import RESULT
from tangka_match.records.setting_names import NON_DECISIVE_KEYS, with_first_names

RUN_ID_VARIABLE = "TANGKA_MATCH_RUN_ID"


@dataclass(frozen=True)
class RunFolder:
    """Folders of a run: records in ``runs/<id>``, weights in ``checkpoints/<name>/<id>``.

    Args:
        run_id: Time, short config hash and four random digits: ``20261124-034512-3fa9c1-7be2``.
        path: Folder of the records.
        checkpoints: Folder of ``best.ckpt``, ``last.ckpt`` and ``meta.json``.
    """

    run_id: str
    path: Path
    checkpoints: Path

    @property
    def config(self) -> Path:
        """Composed config as YAML."""
        return self.path / "config.yaml"

    @property
    def ledger(self) -> Path:
        """Events and metrics as JSON lines."""
        return self.path / "ledger.jsonl"

    @property
    def ranks(self) -> Path:
        """Ranks of ``best.ckpt`` on the validation split, one row per query."""
        return self.path / "ranks.csv"

    @property
    def curves(self) -> Path:
        """Curves of losses and metrics."""
        return self.path / "curves.png"

    def missing_outputs(self) -> list[str]:
        """Return the names of the files of a finished run that are missing, but could be written again.

        A run whose ``last.ckpt`` was removed can write none of them. A damaged ``result.json`` counts as missing.
        """
        if not self.last.is_file():
            return []
        result = [] if self.has_result() else ["result.json"]
        others = (self.ranks, self.curves, self.checkpoints / "meta.json")
        return result + [path.name for path in others if not path.is_file()]

    def has_result(self) -> bool:
        """Whether ``result.json`` holds the metrics of ``best.ckpt``, and is not damaged."""
        try:
            return PRIMARY_METRIC in read_mapping(self.path / "result.json", RESULT).get("val_metrics", {})
        except (OSError, DataFormatError):
            return False

    @property
    def best(self) -> Path:
        """Checkpoint with the highest ``val/mean_r1``."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """Checkpoint from which the run is resumed."""
        return self.checkpoints / "last.ckpt"

    def lock(self) -> TextIO:
        """Lock the run until the returned file is closed or the process ends.

        ``lockf`` is used and not ``flock``, whose locks are inherited by data-loader workers, which outlive a killed
        run by seconds.

        Raises:
            TrainingError: If another process is running it.
        """
        file = (self.path / ".lock").open("a+", encoding="utf-8")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # EACCES or EAGAIN, depending on the system
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
    """Return a short hash of `decisive_settings`."""
    return hashlib.sha256(decisive_settings(config).encode()).hexdigest()[:6]


def decisive_settings(config: dict[str, Any]) -> str:
    """Return the settings that determine the numbers of a run, as text in the names of version 0.1."""
    kept = {key: value for key, value in config.items() if key not in NON_DECISIVE_KEYS}
    return json.dumps(with_first_names(kept), sort_keys=True, ensure_ascii=False)


def create_run_folder(
    runs: Path, checkpoints: Path, name: str, digest: str, *, is_main: bool = True, processes: int = 1
) -> RunFolder:
    """Make the folders of a new run, with a unique id.

    All ranks of a distributed run share a folder. Lightning passes the id of the first rank to the others in the
    environment. ``torchrun`` and ``srun`` start all ranks together, so the user must set the id in the environment.

    Args:
        runs: Folder of the records of all runs.
        checkpoints: Folder of all checkpoints.
        name: Name of the experiment.
        digest: `config_hash` of the run.
        is_main: Whether this process writes the records.
        processes: Number of processes that ``torchrun`` or ``srun`` started together; 1 if Lightning starts them.

    Raises:
        ConfigError: If processes that were started together have no run id, or one that is taken.
        TrainingError: If the folders cannot be made.
    """
    if not is_main or processes > 1:
        run_id = _given_run_id(processes)
        folder = RunFolder(run_id, runs / run_id, checkpoints / name / run_id)
        if not is_main or _make(folder):
            return folder
        raise ConfigError(
            f"{RUN_ID_VARIABLE}={run_id}: this run exists already, in {folder.path} or {folder.checkpoints}: "
            "choose another id" + (f", or continue it with resume={run_id}" if folder.config.exists() else "")
        )
    while True:  # until the random digits are not those of another run of this second
        run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{digest}-{secrets.token_hex(2)}"
        folder = RunFolder(run_id, runs / run_id, checkpoints / name / run_id)
        if _make(folder):
            return folder


def _make(folder: RunFolder) -> bool:
    """Make both folders, or neither; ``False`` if one of them exists already."""
    try:
        folder.path.mkdir(parents=True)
        folder.checkpoints.mkdir(parents=True)
    except OSError as error:
        if error.filename != str(folder.path) and folder.path.is_dir():
            folder.path.rmdir()  # made just above
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
            f"the variable to the same new name for all of them, of letters, digits, dots and dashes (not {LAST!r})"
        )
    return run_id


def find_run(runs: Path, run_id: str, setting: str = "resume") -> Path:
    """Find the folder of a run by its id, an unambiguous prefix of it, or ``last``.

    Args:
        runs: Folder of the records of all runs.
        run_id: Value given by the user.
        setting: Name of the setting that held it, for messages.

    Raises:
        ConfigError: If no run or several runs match; the message lists the newest runs.
    """
    configs = sorted(runs.glob("*/config.yaml"), key=lambda path: (path.stat().st_mtime_ns, path.parent.name))
    return runs / choose_run([path.parent.name for path in configs], run_id, setting, runs)
