"""Study of a sweep: gets trials from Optuna, reports their results to it, and continues after a kill."""

import fcntl
import itertools
import json
import logging
import math
import random
import secrets
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from tangka_match.errors import TrainingError, count
from tangka_match.records.ledger import MAX_LINE, append_line, parse_line
from tangka_match.sweeps.folder import OpenSweep, SweepFolder
from tangka_match.sweeps.locks import acquire, is_locked, open_lock
from tangka_match.sweeps.manifest import COMPLETED, JobRecord
from tangka_match.sweeps.settings import SweepSettings, direction_of
from tangka_match.sweeps.space import Dimension

logger = logging.getLogger(__name__)
NAME = "study"
STALE = "dead"
"""Attribute of a trial whose process was killed."""
WORKER = "worker"
"""Attribute of a trial that names the lock file of the process that requested it."""
PROPOSALS = 10
"""Number of times that the sampler may propose a point that was tried before."""
Point = tuple[Any, ...]
"""Values of all dimensions of a search space, in their order."""
STATES = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


class JournalFile(BaseJournalBackend):
    """Journal backend that survives killed processes.

    Optuna's own file backend refuses a journal with a damaged line, and its lock is a file that a killed process leaves
    behind. This one skips and counts damaged lines, and uses the system's file lock.

    Args:
        path: Journal file; created if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.corrupt = 0
        self._read: list[dict[str, Any]] = []
        self._offset = 0
        path.touch()

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Return the logs from that number on; only new lines are read from the file."""
        with self.path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            file.seek(self._offset)
            fresh = file.read()
        # A truncated last line is counted once the next writer has terminated it.
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            log = parse_line(line) if len(line) <= MAX_LINE else None
            if log is None or type(log.get("op_code")) is not int:
                self.corrupt += 1
            else:
                self._read.append(log)
        return self._read[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append all logs in one write."""
        append_line(self.path, "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs))


@dataclass(frozen=True)
class Trial:
    """Trial that Optuna proposes.

    Args:
        number: Number of the trial and of its job, from 0.
        params: Values by name of setting.
    """

    number: int
    params: dict[str, Any]

    @property
    def overrides(self) -> list[str]:
        """Overrides as on the command line."""
        return [f"{name}={value}" for name, value in self.params.items()]


class Study:
    """Trials of a study folder that other processes may work on at the same time.

    Args:
        sweep: Opened sweep.
        space: Dimensions to search.
        settings: Settings of the sweep.
    """

    def __init__(self, sweep: OpenSweep, space: Sequence[Dimension], settings: SweepSettings) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", ExperimentalWarning)
        self._folder, self._space, self._settings = sweep.folder, list(space), settings
        self._worker = f".worker-{secrets.token_hex(4)}"
        self._lock = open_lock(sweep.folder.path / self._worker)
        acquire(self._lock)
        self._study = self._open(sweep)

    @property
    def points(self) -> int | None:
        """Number of points of the search space; ``None`` if it is infinite."""
        counts = [dimension.count for dimension in self._space]
        return None if None in counts else math.prod(count for count in counts if count is not None)

    @property
    def total(self) -> int:
        """Number of trials to reach; at most the number of points of a finite space."""
        return min(self.points or self._settings.n_trials, self._settings.n_trials)

    @property
    def done(self) -> int:
        """Number of finished trials that count."""
        return len(self._distinct([trial for trial in self.trials if trial.state.is_finished()]))

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials by number."""
        return self._study.get_trials(deepcopy=False)

    def reap_stale_trials(self) -> list[int]:
        """Mark trials that no process is running as failed, and enqueue their parameters again.

        The new trials resume the runs of the stale ones.

        Returns:
            Numbers of the stale trials.
        """
        stale = []
        jobs = self._folder.manifest.read().jobs
        with self._folder.exclusive_step():
            for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
                worker = trial.user_attrs.get(WORKER)
                if self._folder.is_held(trial.number) or (worker and is_locked(self._folder.path / worker)):
                    continue
                job = jobs.get(trial.number)
                if job is not None and job.status in COMPLETED:  # its controller was killed before it could tell Optuna
                    self.tell(job)
                    continue
                self._storage.set_trial_user_attr(trial._trial_id, STALE, True)
                self._study.tell(trial.number, state=TrialState.FAIL)
                stale.append(trial.number)
                if trial.params.keys() == {d.name for d in self._space}:
                    self._study.enqueue_trial(trial.params)
        for number in stale:
            has_started = number in jobs and jobs[number].starts
            error = "its process was killed" if has_started else "the sweep was stopped before it started"
            self._folder.manifest.write("end", job=number, status="stopped", runs=[], error=error)
        return stale

    def ask(self) -> Trial | None:
        """Return the next trial, or ``None`` if all trials are finished or running."""
        with self._folder.exclusive_step():
            waiting = [trial for trial in self.trials if trial.state == TrialState.WAITING]
            begun = self._distinct([trial for trial in self.trials if trial.state != TrialState.WAITING])
            if len(begun) >= self.total:
                return None
            if self.points is not None and not waiting:
                self._study.enqueue_trial(self._new_point(set(begun)))
            self._study.sampler = self._sampler(len(self.trials))
            asked = self._study.ask({dimension.name: dimension.distribution for dimension in self._space})
            asked.set_user_attr(WORKER, self._worker)
            return Trial(asked.number, dict(asked.params))

    def _distinct(self, trials: Sequence[FrozenTrial]) -> list[Point]:
        """Return the points of trials; in a finite space each one once, because a repetition is not a trial.

        Stale trials do not count: their points are tried again.
        """
        points = [self._point(trial.params) for trial in trials if STALE not in trial.user_attrs]
        return points if self.points is None else list(dict.fromkeys(points))

    def _point(self, params: dict[str, Any]) -> Point:
        """Return the values of a trial in the order of the dimensions, without the rounding errors of steps."""
        values = [params.get(dimension.name) for dimension in self._space]
        return tuple(float(f"{value:.12g}") if isinstance(value, float) else value for value in values)

    def _new_point(self, taken: set[Point]) -> dict[str, Any]:
        """Propose a point of a finite space that no trial has.

        The sampler is asked in a copy of the study, so that repetitions leave no trials; after `PROPOSALS` of them, and
        for a grid, the point is a random one. Optuna's own grid sampler identifies points by a number that a journal
        rebuilt from the manifest does not have.
        """
        number = len(self.trials)
        names = [dimension.name for dimension in self._space]
        for proposal in range(0 if self._settings.sampler == "grid" else PROPOSALS):
            copy = optuna.create_study(directions=self._study.directions, sampler=self._sampler(number, proposal))
            copy.add_trials(self.trials)
            params = copy.ask({dimension.name: dimension.distribution for dimension in self._space}).params
            if self._point(params) not in taken:
                return params
        draw = random.Random(self._seed(number))  # noqa: S311 - not a secret
        values = [draw.sample(grid := dimension.grid(), len(grid)) for dimension in self._space]
        points = (dict(zip(names, point, strict=True)) for point in itertools.product(*values))
        return next(params for params in points if self._point(params) not in taken)

    def tell(self, job: JobRecord) -> None:
        """Tell Optuna how a trial ended: its objectives, or that it was pruned or failed."""
        end = job.end or {}
        state = STATES.get(job.status, TrialState.FAIL)
        metrics = end.get("metrics", {})
        if state == TrialState.COMPLETE and not self._has_objectives(metrics):
            state = TrialState.FAIL
        values = [metrics[name] for name in self._settings.objectives] if state == TrialState.COMPLETE else None
        self._study.tell(job.number, values, state=state, skip_if_finished=True)

    def _has_objectives(self, metrics: Mapping[str, float]) -> bool:
        return all(name in metrics for name in self._settings.objectives)

    def best(self) -> set[int]:
        """Return the number of the best trial, or with several objectives those of the Pareto front."""
        if not any(trial.state == TrialState.COMPLETE for trial in self.trials):
            return set()
        if len(self._settings.objectives) == 1:
            return {self._study.best_trial.number}
        return {trial.number for trial in self._study.best_trials}

    def close(self) -> None:
        """Release the lock that shows other processes that this one is working on the study."""
        self._lock.close()
        (self._folder.path / self._worker).unlink(missing_ok=True)

    def _open(self, sweep: OpenSweep) -> optuna.Study:
        journal = JournalFile(sweep.folder.journal)
        try:
            study = self._load(journal)
            asked = [trial.number for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
        except Exception as error:  # Optuna does not check the fields of a line
            if not sweep.alone:
                raise TrainingError(
                    f"{journal.path}: damaged ({error!r}); stop the other processes of the study and repeat the "
                    "command: it rebuilds the journal from the manifest"
                ) from error
            logger.warning("%s: damaged (%r)", journal.path, error)
            return self._rebuild([])
        if journal.corrupt:
            logger.warning("%s skipped: %s", count(journal.corrupt, "unreadable line"), journal.path)
        return self._rebuild(asked) if journal.corrupt and sweep.alone else study

    def _load(self, journal: JournalFile) -> optuna.Study:
        self._storage = JournalStorage(journal)
        return optuna.create_study(
            storage=self._storage,
            study_name=NAME,
            directions=[direction_of(name) for name in self._settings.objectives],
            load_if_exists=True,
        )

    def _rebuild(self, asked: Sequence[int]) -> optuna.Study:
        """Rebuild the journal from the manifest: a lost line can shift the numbers of all later trials.

        Args:
            asked: Numbers of the trials that were started according to the damaged journal.
        """
        jobs = self._folder.manifest.read().jobs
        total = max([*asked, *jobs], default=-1) + 1
        kept = self._folder.journal.with_name(f"journal.damaged-{secrets.token_hex(2)}.log")
        self._folder.journal.rename(kept)
        study = self._load(JournalFile(self._folder.journal))
        for number in range(total):
            study.add_trial(self._restored_trial(jobs.get(number)))
        logger.warning(
            "%s was rebuilt from the manifest; the damaged journal is kept as %s", self._folder.journal, kept.name
        )
        return study

    def _restored_trial(self, job: JobRecord | None) -> FrozenTrial:
        names = {dimension.name: dimension.distribution for dimension in self._space}
        if job is None or job.end is None or job.status == "stopped":
            return create_trial(state=TrialState.FAIL, user_attrs={STALE: True})
        if job.params.keys() != names.keys():  # its manifest line is lost; a finite space repeats it
            lost = None if self.points is None else {STALE: True}
            return create_trial(state=TrialState.FAIL, user_attrs=lost)
        metrics = job.end.get("metrics", {})
        if job.status not in COMPLETED or (job.status == "finished" and not self._has_objectives(metrics)):
            return create_trial(state=TrialState.FAIL, params=job.params, distributions=names)
        reports = {int(epoch): value for epoch, value in job.end.get("reports", {}).items()}
        pruned = job.status == "pruned"
        values = list(reports.values())[-1:] if pruned else [metrics[name] for name in self._settings.objectives]
        return create_trial(
            state=STATES[job.status],
            values=values or None,
            params=job.params,
            distributions=names,
            intermediate_values=reports,
        )

    def _seed(self, number: int, proposal: int = 0) -> int:
        """Return the seed of one trial: with one seed for all, a continued study would repeat its first points."""
        stream = np.random.SeedSequence(self._settings.sampler_seed, spawn_key=(number, proposal))
        return int(stream.generate_state(1)[0])

    def _sampler(self, number: int, proposal: int = 0) -> optuna.samplers.BaseSampler:
        """Make the sampler of one trial."""
        seed = self._seed(number, proposal)
        kind = self._settings.sampler
        if kind == "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        if kind in ("random", "grid"):
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


class TrialReporter:
    """Callable that reports the progress of a trial from its process, and returns whether to prune it.

    Args:
        folder: Folder of the study.
        number: Number of the trial.
        settings: Settings of the sweep.
    """

    def __init__(self, folder: SweepFolder, number: int, settings: SweepSettings) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._storage = JournalStorage(JournalFile(folder.journal))
        self._pruner = optuna.pruners.MedianPruner(
            n_startup_trials=settings.prune_after_trials, n_warmup_steps=settings.prune_after_epochs
        )
        self._study = optuna.load_study(study_name=NAME, storage=self._storage)
        study_id = self._storage.get_study_id_from_name(NAME)
        self._trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def __call__(self, epoch: int, value: float) -> bool:
        """Report the objective after an epoch (from 0); return whether it is worse than the median of other trials."""
        if self._storage.get_trial(self._trial_id).state.is_finished():  # another process marked it as stale
            return False
        self._storage.set_trial_intermediate_value(self._trial_id, epoch, value)
        return self._pruner.prune(self._study, self._storage.get_trial(self._trial_id))
