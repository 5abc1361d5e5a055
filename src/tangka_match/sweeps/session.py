"""What a sweep needs of Hydra: read the command line, compose a job, and hand jobs to the launcher."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from tangka_match.errors import DISK_FULL, TrainingError
from tangka_match.sweeps.folder import SweepFolder
from tangka_match.sweeps.job import failed_without_word, is_worth_another_try
from tangka_match.sweeps.manifest import JobRecord
from tangka_match.sweeps.settings import MAIN


class Session:
    """One multirun command.

    Args:
        config: As Hydra composed it for the command, without the swept values.
        context: Hydra's.
        task: What a job runs.
    """

    def __init__(self, config: DictConfig, context: HydraContext, task: TaskFunction) -> None:
        self.config, self._context, self._task = config, context, task

    @property
    def root(self) -> Path:
        """Folder of all sweeps."""
        return Path(self.config.paths.runs).absolute() / "sweeps"

    def parse(self, words: Sequence[str]) -> list[Override]:
        """Overrides in Hydra's grammar.

        Raises:
            OverrideParseException: If one cannot be read.
        """
        return OverridesParser.create(config_loader=self._context.config_loader).parse_overrides(list(words))

    def expand(self, overrides: list[Override]) -> list[list[str]]:
        """Every combination of the swept values, the last one changing fastest."""
        return BasicSweeper.split_arguments(overrides, None)[0]

    def compose(self, overrides: list[str]) -> DictConfig:
        """The config of a job, without Hydra's own node."""
        config = self._context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            del config["hydra"]
        return config

    def launcher(self, folder: SweepFolder | None) -> Launcher:
        """The launcher that the command names, writing into the folder of the sweep.

        Args:
            folder: ``None`` while there is none yet: is there such a launcher, and are its settings right?
        """
        with open_dict(self.config):
            self.config.hydra.sweep.dir = str(self.root if folder is None else folder.path)
        return Plugins.instance().instantiate_launcher(
            hydra_context=self._context, task_function=self._task, config=self.config
        )

    def run_jobs(self, launcher: Launcher, folder: SweepFolder, jobs: Mapping[int, list[str]], *, retries: int) -> None:
        """Run jobs to their end, again those that crashed; the manifest learns how each ended.

        Args:
            launcher: Of this session.
            folder: Of the sweep.
            jobs: Overrides by number.
            retries: Further tries of a job that crashed.

        Raises:
            TrainingError: If the disk is full; the jobs that are left have not been started.
        """
        for _ in range(retries + 1):
            for batch in _batches(launcher, jobs):
                self._launch(launcher, folder, batch)
            ended = folder.manifest.read().jobs
            jobs = {n: o for n, o in jobs.items() if is_worth_another_try(ended[n].end)}
            if not jobs:
                return

    def _launch(self, launcher: Launcher, folder: SweepFolder, batch: Mapping[int, list[str]]) -> None:
        before = {n: job.starts for n, job in folder.manifest.read().jobs.items()}
        placed = [[*overrides, *_place(folder, number)] for number, overrides in batch.items()]
        reason: object = "unknown"
        returned: Sequence[JobReturn] = []
        try:
            returned = launcher.launch(placed, initial_job_idx=min(batch))
        except TrainingError:
            raise
        except Exception as error:  # submitit's, of a job that was killed; the others have their lines in the manifest
            reason = error
        by_number = dict(zip(batch, returned, strict=False))
        jobs = folder.manifest.read().jobs
        for number in batch:
            job = jobs.get(number, JobRecord(number))
            if job.end is None or job.starts == before.get(number, 0):
                _raise_full_disk(by_number.get(number))
                folder.manifest.write("end", job=number, **failed_without_word(_code(by_number.get(number), reason)))
            elif job.end.get("full_disk"):
                raise TrainingError(f"job {number}: {job.end['error']}")


def _batches(launcher: Launcher, jobs: Mapping[int, list[str]]) -> Iterator[dict[int, list[str]]]:
    """One job at a time where the launcher runs them one after the other, so that a full disk stops the rest."""
    # By name: Hydra loads its plug-ins itself, and the class may be another object than the one imported here.
    if type(launcher).__name__ == BasicLauncher.__name__:
        yield from ({number: overrides} for number, overrides in jobs.items())
    elif jobs:
        yield dict(jobs)


def _place(folder: SweepFolder, number: int) -> list[str]:
    """Overrides that tell a job where it belongs."""
    path = quoted(str(folder.path))
    return [
        f"sweep.folder={path}",
        f"sweep.job={number}",
        f"hydra.sweep.dir={path}",
        f"hydra.sweep.subdir=jobs/{number}",
    ]


def quoted(text: str) -> str:
    r"""Text as a value in Hydra's grammar, whatever is in it.

    >>> quoted("/data/it's here")
    "'/data/it\\'s here'"
    """
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", text) + "'"


def _raise_full_disk(job: JobReturn | None) -> None:
    error = job._return_value if job is not None else None
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        raise error


def _code(job: JobReturn | None, reason: object) -> str:
    if job is None:
        return " ".join(str(reason).split())[:300]
    value = job._return_value
    said = value if isinstance(value, str) else f"{type(value).__name__} {value}"
    return " ".join(said.split())[:300]


@contextmanager
def full_disk_explained(root: Path) -> Iterator[None]:
    """Turn the system's error for a full disk into one of ours; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise TrainingError(
            f"{error.filename or root}: {error.strerror}; free space there and give the same command again: what has "
            "finished is kept"
        ) from error


def shown_objectives(objectives: Sequence[str]) -> list[str]:
    """Columns of the table: the objectives, and the main metric first."""
    return list(dict.fromkeys([MAIN, *objectives]))
