"""Hydra's part of a sweep: parse the command line, compose the config of a job, and hand jobs to the launcher."""

import re
from collections.abc import Iterator, Mapping, Sequence
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

from tangka_match.config.hydra_options import check_folders
from tangka_match.errors import ConfigError, TrainingError
from tangka_match.sweeps.folder import SweepFolder
from tangka_match.sweeps.job import died_without_end, is_full_disk, is_retryable
from tangka_match.sweeps.manifest import JobRecord

LOCAL_LAUNCHERS = ("BasicLauncher", "LocalPoolLauncher", "LocalLauncher")
"""Launchers of Hydra, of this package and of submitit that run jobs on the machine of the command."""
NO_RESULT = "the launcher has returned no result"
FULL_DISK_ADVICE = "free space there and run the same command again: finished runs are kept"


class Session:
    """Hydra session of one multirun command.

    Args:
        config: Config that Hydra composed for the command, without the swept values.
        context: Hydra's context.
        task: Function that runs a job.

    Raises:
        ConfigError: If the config moves Hydra's folders.
    """

    def __init__(self, config: DictConfig, context: HydraContext, task: TaskFunction) -> None:
        check_folders(config.hydra, f"{config.paths.runs}/sweeps")
        self.config, self._context, self._task = config, context, task

    @property
    def root(self) -> Path:
        """Folder of all sweeps."""
        return Path(self.config.paths.runs).absolute() / "sweeps"

    @property
    def runs_here(self) -> bool:
        """Whether the launcher runs the jobs on this machine, and not on the nodes of a cluster."""
        return str(self.config.hydra.launcher._target_).rpartition(".")[2] in LOCAL_LAUNCHERS

    def parse(self, words: Sequence[str]) -> list[Override]:
        """Parse overrides in Hydra's grammar.

        Raises:
            OverrideParseException: If one is malformed.
        """
        return OverridesParser.create(config_loader=self._context.config_loader).parse_overrides(list(words))

    def expand(self, overrides: list[Override]) -> list[list[str]]:
        """Return every combination of the swept values; the last one changes fastest.

        Raises:
            ConfigError: If a setting has no value to sweep, or an interval of them.
        """
        for override in overrides:
            name = override.get_key_element()
            if override.is_interval_sweep():
                raise ConfigError(
                    f"{override.input_line}: a grid cannot enumerate an interval; search it with hydra/sweeper=study, "
                    f"or list its values: {name}=0.1,0.2"
                )
            if override.is_sweep_override() and next(override.sweep_string_iterator(), None) is None:
                raise ConfigError(
                    f"{override.input_line}: no value matches, so that there is nothing to run; correct it"
                )
        return BasicSweeper.split_arguments(overrides, None)[0]

    def compose(self, overrides: list[str]) -> DictConfig:
        """Compose the config of a job, without the node ``hydra``."""
        config = self._context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            del config["hydra"]
        return config

    def launcher(self, folder: SweepFolder | None) -> Launcher:
        """Instantiate the launcher that the command names.

        Args:
            folder: Folder of the sweep; ``None`` to check the launcher's settings before the folder exists.
        """
        with open_dict(self.config):
            self.config.hydra.sweep.dir = str(self.root if folder is None else folder.path)
        return Plugins.instance().instantiate_launcher(
            hydra_context=self._context, task_function=self._task, config=self.config
        )

    def run_jobs(self, launcher: Launcher, folder: SweepFolder, jobs: Mapping[int, list[str]], *, retries: int) -> None:
        """Run jobs, retry those that crashed, and record the outcome of each in the manifest.

        Args:
            launcher: Launcher of this session.
            folder: Folder of the sweep.
            jobs: Overrides by job number.
            retries: Further tries of a job that crashed.

        Raises:
            TrainingError: If the disk is full; the remaining jobs are not started.
        """
        for _ in range(retries + 1):
            for batch in _batches(launcher, jobs):
                self._launch(launcher, folder, batch)
            ended = folder.manifest.read().jobs
            jobs = {number: overrides for number, overrides in jobs.items() if is_retryable(ended[number].end)}
            if not jobs:
                return

    def _launch(self, launcher: Launcher, folder: SweepFolder, batch: Mapping[int, list[str]]) -> None:
        before = {n: job.starts for n, job in folder.manifest.read().jobs.items()}
        overrides = [[*words, *_place_overrides(folder, number)] for number, words in batch.items()]
        failure: object = NO_RESULT
        returned: Sequence[JobReturn] = []
        try:
            returned = launcher.launch(overrides, initial_job_idx=min(batch))
        except TrainingError:
            raise
        except Exception as error:  # submitit asks for the results in order, and raises at the first killed job
            failure = error
            for number in batch:
                folder.wait_for_job(number)
        by_number = dict(zip(batch, returned, strict=False))
        jobs = folder.manifest.read().jobs
        for number in batch:
            job = jobs.get(number, JobRecord(number))
            if job.end is None or job.starts == before.get(number, 0):
                value = by_number[number]._return_value if number in by_number else failure
                if isinstance(value, OSError) and is_full_disk(value):
                    raise value
                folder.manifest.write("end", job=number, **died_without_end(value))
                failure = NO_RESULT  # the error is that of the first job without an end
            elif job.end.get("full_disk"):
                raise TrainingError(f"job {number}: {job.end['error']}; {FULL_DISK_ADVICE}")


def quoted(text: str) -> str:
    r"""Quote any text as a value in Hydra's grammar.

    >>> quoted("/data/it's here")
    "'/data/it\\'s here'"
    """
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", text) + "'"


def _batches(launcher: Launcher, jobs: Mapping[int, list[str]]) -> Iterator[dict[int, list[str]]]:
    """Single jobs for Hydra's sequential launcher, so that a full disk stops the rest; else all jobs at once."""
    # Compared by name because Hydra loads its plug-ins itself, and the class may not be the one imported here.
    if type(launcher).__name__ == BasicLauncher.__name__:
        yield from ({number: overrides} for number, overrides in jobs.items())
    elif jobs:
        yield dict(jobs)


def _place_overrides(folder: SweepFolder, number: int) -> list[str]:
    """Overrides that pass a job its sweep and number."""
    path = quoted(str(folder.path))
    return [
        f"sweep.folder={path}",
        f"sweep.job={number}",
        f"hydra.sweep.dir={path}",
        f"hydra.sweep.subdir=jobs/{number}",
    ]
