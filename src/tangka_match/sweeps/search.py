"""A study: Optuna proposes trials, jobs run them, lagging ones are pruned; it goes on to a total after a kill."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import rich
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.plugins.launcher import Launcher
from rich.markup import escape

from tangka_match.errors import ConfigError, TrainingError
from tangka_match.records.environment import code_origin, code_version, known_version
from tangka_match.sweeps.folder import open_sweep
from tangka_match.sweeps.grid import identity_of
from tangka_match.sweeps.manifest import JobRecord
from tangka_match.sweeps.points import check_points, own_overrides, read_sweep_settings
from tangka_match.sweeps.session import Session, full_disk_explained, shown_objectives
from tangka_match.sweeps.settings import Dimension, SweepSettings, choices, interval
from tangka_match.sweeps.study import Study, Trial
from tangka_match.sweeps.tables import failures, jobs_table

logger = logging.getLogger(__name__)


def run_study(session: Session, arguments: Sequence[str], batch_size: int) -> list[JobRecord]:
    """Search a space until it has its total of trials.

    Args:
        session: Of the command.
        arguments: Overrides; those with several values or an interval are searched, beside ``sweep.space``.
        batch_size: Trials handed together to a launcher that is not our own pool.

    Returns:
        A record a trial.

    Raises:
        ConfigError: If the space or any corner of it is faulty, before the first trial starts.
        TrainingError: If no trial finished, or the disk is full.
    """
    settings = read_sweep_settings(session.config)
    fixed, space = _split(session, settings, arguments)
    if settings.sampler == "grid":
        for dimension in space:
            dimension.grid()
    corners = [[*fixed, *corner] for corner in _corners(space)]
    points = check_points(session.compose, corners, "corner of the space")
    session.launcher(None)
    identity = {
        "space": {dimension.name: repr(dimension.distribution) for dimension in space},
        "objectives": settings.objectives,
        **identity_of(points),
        "jobs": own_overrides(fixed),
    }
    with full_disk_explained(session.root):
        sweep = open_sweep(
            session.root,
            settings.name,
            "study",
            identity,
            objectives=settings.objectives,
            **code_origin(),
        )
        begun = sweep.folder.manifest.read().header
        begun_with = known_version(begun.get("git_commit"), str(begun.get("sources")))
        if begun_with != code_version() and not settings.any_commit:
            logger.warning(
                "the study was begun at commit %s, sources %s, this is %s, %s: its trials are compared as if the code "
                "were the same; sweep.name=<a new name> starts another, sweep.any_commit=true says that this is meant",
                *begun_with,
                *code_version(),
            )
        with sweep.lock:
            study = Study(sweep, space, settings)
            _Search(session, settings, study, fixed, batch_size).run(session.launcher(sweep.folder), sweep.folder)
            study.close()
            return _report(sweep.folder, study, settings)


class _Search:
    """The loop of one process that works on a study."""

    def __init__(
        self, session: Session, settings: SweepSettings, study: Study, fixed: list[str], batch_size: int
    ) -> None:
        self._session, self._settings, self._study = session, settings, study
        self._fixed, self._batch = fixed, batch_size
        self._stopping = threading.Event()

    def run(self, launcher: Launcher, folder: Any) -> None:
        """Ask, run and tell until the total is reached."""
        buried = self._study.bury_dead()
        done = sum(trial.state.is_finished() and "dead" not in trial.user_attrs for trial in self._study.trials)
        rich.print(
            f"study {folder.sweep_id}: {done} of {self._study.total} trials done"
            + (f", {len(buried)} killed before ({', '.join(map(str, buried))}), tried again" if buried else "")
        )
        rich.print(f"its folder   {escape(str(folder.path))}")
        while True:
            self._work_side_by_side(launcher, folder, getattr(launcher, "slots", 1))
            if not self._study.bury_dead():  # of another process that died meanwhile
                return

    def _work_side_by_side(self, launcher: Launcher, folder: Any, slots: int) -> None:
        if slots == 1:
            self._work(launcher, folder, self._batch)
            return
        # A thread a place: each takes the next trial when its own has ended, and none waits for the slowest.
        with ThreadPoolExecutor(slots) as threads:
            try:
                for worker in [threads.submit(self._work, launcher, folder, 1) for _ in range(slots)]:
                    worker.result()
            except BaseException:
                self._stopping.set()  # a thread whose job is ended now shall not ask for another
                launcher.end_all()  # type: ignore[attr-defined]
                raise

    def _work(self, launcher: Launcher, folder: Any, batch_size: int) -> None:
        while not self._stopping.is_set() and (trials := self._ask(batch_size)):
            for trial in trials:
                shown = [*own_overrides(self._fixed), *trial.overrides]
                folder.manifest.write("job", job=trial.number, overrides=shown, params=trial.params)
            jobs = {trial.number: [*self._fixed, *trial.overrides] for trial in trials}
            self._session.run_jobs(launcher, folder, jobs, retries=self._settings.retries)
            ended = folder.manifest.read().jobs
            for trial in trials:
                self._tell(ended[trial.number], folder)

    def _ask(self, count: int) -> list[Trial]:
        asked = (self._study.ask() for _ in range(count))
        return [trial for trial in asked if trial is not None]

    def _tell(self, job: JobRecord, folder: Any) -> None:
        assert job.end is not None
        if job.status == "stopped":  # asked to end: buried, and tried again, when the study goes on
            return
        missing = [name for name in self._settings.objectives if name not in job.end.get("metrics", {})]
        if job.status == "finished" and missing:
            end = {key: value for key, value in job.end.items() if key not in ("event", "time", "job")}
            reason = f"its runs report no {', '.join(missing)}: too short for trainer.log_every_n_steps?"
            folder.manifest.write("end", job=job.number, **(end | {"status": "failed", "error": reason}))
            job = folder.manifest.read().jobs[job.number]
        self._study.tell(job)


def _split(session: Session, settings: SweepSettings, arguments: Sequence[str]) -> tuple[list[str], list[Dimension]]:
    """Fixed overrides, and the searched dimensions; the command line replaces a dimension of ``sweep.space``."""
    words = session.parse([*(f"{name}={text}" for name, text in settings.space.items()), *arguments])
    by_name = {override.get_key_element(): override for override in words}
    fixed, space = [], []
    for name, override in by_name.items():
        if override.is_sweep_override():
            space.append(_dimension(name, override))
        else:
            fixed.append(f"{name}={override.get_value_element_as_str()}")
    if not space:
        raise ConfigError(
            "hydra/sweeper=study searches nothing: choose a space (sweep=lr_margin), or give one on the command line: "
            "'optimizer.lr=tag(log, interval(1e-4, 1e-3))'"
        )
    return fixed, space


def _dimension(name: str, override: Override) -> Dimension:
    value = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        return interval(name, value.start, value.end, log="log" in value.tags, whole=whole)
    if isinstance(value, RangeSweep):
        assert value.start is not None
        assert value.stop is not None
        whole = all(isinstance(number, int) for number in (value.start, value.stop, value.step))
        return interval(name, *_ends(value, whole=whole), log="log" in value.tags, whole=whole, step=value.step)
    return choices(name, list(override.sweep_string_iterator()))


def _ends(value: RangeSweep, *, whole: bool) -> tuple[float, float]:
    """First and last value of a range, which leaves out its stop."""
    values = list(value.range())
    if not values:
        return value.start, value.stop  # type: ignore[return-value]  # the wrong way round: refused by its name
    return (int(values[0]), int(values[-1])) if whole else (float(values[0]), float(values[-1]))


def _corners(space: Sequence[Dimension]) -> list[list[str]]:
    """Points that are legal if the space is: the first values, and from there each other value alone."""
    first = {dimension.name: dimension.corners()[0] for dimension in space}
    corners = [first] + [{**first, d.name: value} for d in space for value in d.corners()[1:]]
    return [[f"{name}={value}" for name, value in corner.items()] for corner in corners]


def _report(folder: Any, study: Study, settings: SweepSettings) -> list[JobRecord]:
    content = folder.manifest.read()
    jobs = [content.jobs[number] for number in sorted(content.jobs)]
    counts = {state: sum(job.status == state for job in jobs) for state in ("finished", "pruned", "failed", "stopped")}
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    best = study.best()
    table = jobs_table(
        jobs,
        title=f"study {folder.sweep_id}: {said}",
        objectives=shown_objectives(settings.objectives),
        best=best,
    )
    rich.print(table)
    what = "Pareto front" if len(settings.objectives) > 1 else "best trial"
    if best:
        rich.print(f"{what}: {', '.join(str(number) for number in sorted(best))}")
    if content.corrupt:
        rich.print(f"{escape(str(folder.manifest.path))}: {content.corrupt} damaged line(s) skipped")
    wrong = failures([job for job in jobs if job.status == "failed"])
    if wrong and not counts["finished"]:
        raise TrainingError("no trial of the study finished:\n  " + "\n  ".join(wrong))
    for line in wrong:
        logger.warning("%s", line)
    return jobs
