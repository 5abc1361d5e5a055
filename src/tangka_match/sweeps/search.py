"""Studies: Optuna proposes trials, jobs run them, lagging trials are pruned, up to a total number of trials."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import rich
from hydra.plugins.launcher import Launcher
from rich.markup import escape

from tangka_match.config.quoting import quote_as_typed
from tangka_match.errors import TrainingError, disk_errors_explained
from tangka_match.metric_names import PRIMARY_METRIC
from tangka_match.records.environment import code_origin, code_version, known_version
from tangka_match.sweeps.folder import SweepFolder, open_sweep
from tangka_match.sweeps.grid import sweep_identity
from tangka_match.sweeps.manifest import JobRecord
from tangka_match.sweeps.points import check_points, read_sweep_settings, run_overrides
from tangka_match.sweeps.session import FULL_DISK_ADVICE, Session
from tangka_match.sweeps.settings import SweepSettings
from tangka_match.sweeps.space import space_corners, split_space
from tangka_match.sweeps.study import Study, Trial
from tangka_match.sweeps.tables import describe_failures, jobs_table

logger = logging.getLogger(__name__)


def run_study(session: Session, arguments: Sequence[str], batch_size: int) -> list[JobRecord]:
    """Search a space until the study has its total number of trials.

    Args:
        session: Hydra session of the command.
        arguments: Overrides; those with several values or an interval are searched, in addition to ``sweep.space``.
        batch_size: Number of trials per launcher call, for any launcher except ``local_pool``.

    Returns:
        Records of all trials.

    Raises:
        ConfigError: If the space or one of its corners is invalid, before the first trial starts.
        TrainingError: At the end if a trial failed; at once if the disk is full.
    """
    settings = read_sweep_settings(session.config)
    given = [quote_as_typed(f"{name}={text}") for name, text in settings.space.items()]
    fixed, space = split_space(session.parse([*given, *arguments]))
    if settings.sampler == "grid":
        for dimension in space:
            dimension.grid()
    corners = [[*fixed, *corner] for corner in space_corners(space)]
    points = check_points(session.compose, corners, "search-space corner", on_this_machine=session.runs_here)
    session.launcher(None)
    identity = {
        "space": {dimension.name: repr(dimension.distribution) for dimension in space},
        "objectives": settings.objectives,
        **sweep_identity(points),
        "jobs": run_overrides(fixed),
    }
    with disk_errors_explained(str(session.root), FULL_DISK_ADVICE):
        sweep = open_sweep(
            session.root, settings.name, "study", identity, objectives=settings.objectives, **code_origin()
        )
        if not settings.any_commit:
            _warn_of_other_code(sweep.folder)
        with sweep.lock:
            study = Study(sweep, space, settings)
            _Search(session, settings, study, fixed, batch_size).run(session.launcher(sweep.folder), sweep.folder)
            study.close()
            return _print_summary(sweep.folder, study, settings)


def _warn_of_other_code(folder: SweepFolder) -> None:
    header = folder.manifest.read().header
    begun_with = known_version(header.get("git_commit"), str(header.get("sources")))
    if begun_with != code_version():
        logger.warning(
            "the study was begun with other code (commit %s, sources %s; now commit %s, sources %s), and its trials "
            "are compared nevertheless; set sweep.name=<new name> to begin another study, or sweep.any_commit=true if "
            "this is intended",
            *begun_with,
            *code_version(),
        )


class _Search:
    """Loop of one process that works on a study."""

    def __init__(
        self, session: Session, settings: SweepSettings, study: Study, fixed: list[str], batch_size: int
    ) -> None:
        self._session, self._settings, self._study = session, settings, study
        self._fixed, self._batch_size = fixed, batch_size
        self._stopping = threading.Event()

    def run(self, launcher: Launcher, folder: SweepFolder) -> None:
        """Ask for trials, run them and report their results until the total is reached."""
        stale = self._study.reap_stale_trials()
        rich.print(
            f"study {folder.sweep_id}: {self._study.done} of {self._study.total} trials done"
            + (f", {len(stale)} killed before ({', '.join(map(str, stale))}) and repeated" if stale else "")
        )
        rich.print(f"sweep folder  {escape(str(folder.path))}")
        while True:
            self._run_workers(launcher, folder, getattr(launcher, "slots", 1))
            if not self._study.reap_stale_trials():  # another process may have been killed in the meantime
                return

    def _run_workers(self, launcher: Launcher, folder: SweepFolder, slots: int) -> None:
        if slots == 1:
            self._work(launcher, folder, self._batch_size)
            return
        # One thread per slot takes the next trial as soon as its own has ended, without waiting for the slowest.
        with ThreadPoolExecutor(slots) as threads:
            try:
                for worker in [threads.submit(self._work, launcher, folder, 1) for _ in range(slots)]:
                    worker.result()
            except BaseException:
                self._stopping.set()  # before the jobs end, so that their threads request no further trials
                launcher.end_all()  # type: ignore[attr-defined]
                raise

    def _work(self, launcher: Launcher, folder: SweepFolder, batch_size: int) -> None:
        while not self._stopping.is_set() and (trials := self._ask(batch_size)):
            for trial in trials:
                shown = [*run_overrides(self._fixed), *trial.overrides]
                folder.manifest.write("job", job=trial.number, overrides=shown, params=trial.params)
            jobs = {trial.number: [*self._fixed, *trial.overrides] for trial in trials}
            self._session.run_jobs(launcher, folder, jobs, retries=self._settings.retries)
            ended = folder.manifest.read().jobs
            for trial in trials:
                self._tell(ended[trial.number], folder)

    def _ask(self, count: int) -> list[Trial]:
        asked = (self._study.ask() for _ in range(count))
        return [trial for trial in asked if trial is not None]

    def _tell(self, job: JobRecord, folder: SweepFolder) -> None:
        assert job.end is not None
        if job.status == "stopped":  # on request; the stale trial is repeated when the study continues
            return
        missing = [name for name in self._settings.objectives if name not in job.end.get("metrics", {})]
        if job.status == "finished" and missing:
            end = {key: value for key, value in job.end.items() if key not in ("event", "time", "job")}
            reason = f"its runs report no {', '.join(missing)}: are they too short for trainer.log_every_n_steps?"
            folder.manifest.write("end", job=job.number, **(end | {"status": "failed", "error": reason}))
            job = folder.manifest.read().jobs[job.number]
        self._study.tell(job)


def _print_summary(folder: SweepFolder, study: Study, settings: SweepSettings) -> list[JobRecord]:
    content = folder.manifest.read()
    jobs = [content.jobs[number] for number in sorted(content.jobs)]
    counts = {state: sum(job.status == state for job in jobs) for state in ("finished", "pruned", "failed", "stopped")}
    summary = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    best = study.best()
    columns = list(dict.fromkeys([PRIMARY_METRIC, *settings.objectives]))
    rich.print(jobs_table(jobs, title=f"study {folder.sweep_id}: {summary}", columns=columns, best=best))
    what = "Pareto front" if len(settings.objectives) > 1 else "best trial"
    if study.points is not None and study.done == study.points:
        rich.print(f"all {study.points} points of the search space have been tried")
    if best:
        rich.print(f"{what}: {', '.join(str(number) for number in sorted(best))}")
    for damaged in content.damage():
        rich.print(escape(damaged))
    failed = describe_failures([job for job in jobs if job.status == "failed"])
    if failed:
        raise TrainingError(f"{len(failed)} of {len(jobs)} trials failed:\n  " + "\n  ".join(failed))
    return jobs
