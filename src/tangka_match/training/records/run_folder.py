"""The run folder: everything to repeat a run, under an id that no other run has."""

import fcntl
import hashlib
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tangka_match.errors import ConfigError, TrainingError

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
        """Hold the run for this process until the returned file is closed.

        Raises:
            TrainingError: If another process is running it.
        """
        file = (self.path / ".lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
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
    kept = {key: value for key, value in config.items() if key not in ("paths", "logger", "resume", "debug", "tags")}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False)


def create_run_folder(runs: Path, checkpoints: Path, name: str, digest: str) -> RunFolder:
    """Make the folders of a new run; two runs started in the same second get two ids.

    In a distributed run the other ranks join the folder whose id the first rank left in the environment; those that
    torchrun starts, perhaps on several machines, join the one that the user named there.

    Args:
        runs: Folder of all runs' records.
        checkpoints: Folder of all checkpoints.
        name: Of the experiment.
        digest: ``config_hash`` of the run.

    Raises:
        ConfigError: If torchrun's processes were given no name, or one that another run has.
        TrainingError: If the folder cannot be made.
    """
    run_id = _shared_id()
    fresh = run_id is None
    run_id = run_id or f"{time.strftime('%Y%m%d-%H%M%S')}-{digest}-{secrets.token_hex(2)}"
    folder = RunFolder(run_id, runs / run_id, checkpoints / name / run_id)
    if os.environ.get("RANK") == "0" and folder.config.exists():  # torchrun's first process, and a name used before
        raise ConfigError(f"{RUN_ID_VARIABLE}={run_id}: there is such a run already, {folder.path}; give a new name")
    try:
        folder.path.mkdir(parents=True, exist_ok=not fresh)
        folder.checkpoints.mkdir(parents=True, exist_ok=not fresh)
    except OSError as error:
        raise TrainingError(
            f"{error.filename}: cannot make the run folder ({error.strerror}); set paths.runs and paths.checkpoints"
        ) from error
    return folder


def _shared_id() -> str | None:
    """The id that this process has to take over from others, or ``None`` where it makes its own."""
    given = os.environ.get(RUN_ID_VARIABLE)
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return given if int(os.environ.get("LOCAL_RANK", "0")) else None
    if given is None:
        raise ConfigError(
            f"torchrun starts processes that cannot agree on a run folder: set {RUN_ID_VARIABLE}=<a new name> for "
            "all of them, on every machine"
        )
    return given


def find_run(runs: Path, run_id: str, setting: str = "resume") -> Path:
    """Find a run's folder by its id, an unambiguous beginning of it, or ``last``.

    Args:
        runs: Folder of all runs' records.
        run_id: What was given.
        setting: Where it was given, for messages.

    Raises:
        ConfigError: If there is no such run, or several fit; the message lists the newest.
    """
    known = sorted(p.parent.name for p in runs.glob("*/config.yaml"))
    found = (
        known[-1:]
        if run_id == "last"
        else [k for k in known if k == run_id] or [k for k in known if k.startswith(run_id)]
    )
    if len(found) == 1:
        return runs / found[0]
    newest = "\n  ".join(reversed(known[-5:])) or "(none)"
    what = f"{len(found)} runs fit" if found else "no run fits"
    raise ConfigError(
        f"{setting}={run_id}: {what} under {runs.resolve()}; the newest are:\n  {newest}\n"
        "Give a whole id, or paths.runs=<folder>"
    )
