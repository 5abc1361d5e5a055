"""Points of a sweep: its jobs, all composed and checked before the first one starts."""

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from rich.progress import track

from tangka_match.config.build import build_plan
from tangka_match.config.explain import describe_fault, explain, raise_faults
from tangka_match.config.launch import keep_absolute_paths
from tangka_match.errors import ConfigError, TangkaMatchError
from tangka_match.records.environment import CodeVersion
from tangka_match.records.past_runs import PastRun, find_runs
from tangka_match.records.setting_names import COMMAND_KEYS, SWEEP_PREFIXES
from tangka_match.sweeps.settings import SweepSettings
from tangka_match.training.plan import RunPlan, check_schedule

PROGRESS_BAR_FROM = 8
"""Number of jobs from which checking them takes long enough for a progress bar."""


@dataclass(frozen=True)
class Point:
    """Checked job of a sweep.

    Args:
        number: Number of the job, from 0.
        overrides: Overrides of the command line for this job.
        plans: Planned runs, one per seed.
        fingerprints: Fingerprint of the data of each run.
    """

    number: int
    overrides: list[str]
    plans: list[RunPlan]
    fingerprints: list[str]

    @property
    def shown(self) -> list[str]:
        """Overrides that concern its runs."""
        return run_overrides(self.overrides)

    def finished_runs(self, code: CodeVersion | None) -> list[PastRun] | None:
        """Return a finished run per seed, or ``None`` if one is missing; ``code=None`` accepts any code."""
        found = []
        for plan, fingerprint in zip(self.plans, self.fingerprints, strict=True):
            runs = find_runs(plan.settings.paths.runs, plan.config, fingerprint, code)
            finished = [run for run in runs if run.status == "finished"]
            if not finished:
                return None
            found.append(finished[0])
        return found


def run_overrides(overrides: Iterable[str]) -> list[str]:
    """Return the overrides without those that configure the sweep.

    >>> run_overrides(["+experiment=debug", "seed=1", "sweep.retries=2", "hydra.sweeper.params=null"])
    ['+experiment=debug', 'seed=1']
    """
    return [o for o in overrides if not o.lstrip("+~").startswith(SWEEP_PREFIXES)]


def read_sweep_settings(config: DictConfig) -> SweepSettings:
    """Return the typed settings of ``config.sweep``.

    Raises:
        ConfigError: If a setting is invalid; the message lists every fault.
    """
    plain = OmegaConf.to_container(config.sweep, resolve=True, throw_on_missing=True)
    try:
        return SweepSettings.model_validate(plain)
    except ValidationError as error:
        raise_faults([_describe_sweep_fault(item) for item in error.errors()])
        raise


def _describe_sweep_fault(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        known = ", ".join(SweepSettings.model_fields)
        return f"sweep.{item['loc'][0]}: there is no such setting. Known in sweep: {known}"
    return describe_fault({**item, "loc": ("sweep", *item["loc"])}, SweepSettings)


def plan_runs(config: DictConfig, *, on_this_machine: bool = True) -> list[RunPlan]:
    """Check the composed config of a job and plan its runs, one per seed.

    Args:
        config: Composed config.
        on_this_machine: Whether the job is to run here; otherwise devices are not checked.

    Raises:
        ConfigError: If the config is invalid or requests several devices.
    """
    config = copy.deepcopy(config)
    OmegaConf.set_struct(config, False)
    command = {name: config.pop(name) for name in COMMAND_KEYS}
    if command["resume"] is not None:
        raise ConfigError(
            f"resume={command['resume']} continues a single run; to continue a sweep, run its command again without "
            "resume"
        )
    keep_absolute_paths(config)
    plans = []
    for seed in check_seeds(command["seeds"]) or [config.seed]:
        config.seed = seed
        plans.append(build_plan(config, on_this_machine=on_this_machine))
    trainer = plans[0].settings.trainer
    if trainer.devices != 1 or trainer.num_nodes != 1 or trainer.strategy != "auto":
        raise ConfigError(
            f"trainer.devices={trainer.devices}, trainer.num_nodes={trainer.num_nodes}, "
            f"trainer.strategy={trainer.strategy}: each job and each seed of a sweep runs on one device, because every "
            "process of a distributed run would start the whole sweep again. Use trainer=gpu with "
            "hydra/launcher=local_pool to use several GPUs, or trainer=ddp in a single run"
        )
    return plans


def check_seeds(seeds: Any) -> list[int] | None:
    """Return the setting ``seeds`` as a list, or ``None`` if it is not set.

    Raises:
        ConfigError: If it is not a list of distinct integers >= 0.
    """
    if seeds is None:
        return None
    plain = list(seeds) if isinstance(seeds, ListConfig | list) else [seeds]
    is_valid = plain and all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in plain)
    if not is_valid or len(set(plain)) < len(plain):
        raise ConfigError(f"seeds={plain} must be distinct integers >= 0, such as 'seeds=[0,1,2]'")
    return plain


def check_ensemble(config: DictConfig, *, in_sweep: bool) -> bool:
    """Check the settings ``ensemble`` and ``members``, and return whether an ensemble is to be evaluated.

    Raises:
        ConfigError: If ``ensemble`` is not a boolean, or true in a job of a sweep or without several runs; if
            ``members`` is not a list of experiments, or given without ``ensemble`` or in a sweep.
    """
    members = check_members(config.members)
    if members is not None and in_sweep:
        raise ConfigError(f"members={members} in a sweep: train the ensemble by a command of its own, without -m")
    if config.ensemble is False:
        if members is not None:
            raise ConfigError(
                f"members={members} with ensemble=false: their scores are averaged; set ensemble=true, or members=null"
            )
        return False
    if config.ensemble is not True:
        raise ConfigError(f"ensemble={config.ensemble!r} must be true or false")
    if in_sweep:
        raise ConfigError("ensemble=true in a sweep: its jobs are compared by single models; set ensemble=false")
    if members is None and len(check_seeds(config.seeds) or []) < 2:
        raise ConfigError(f"ensemble=true with seeds={config.seeds}: give at least two seeds, such as 'seeds=[0,1,2]'")
    return True


def check_members(members: Any) -> list[str] | None:
    """Return the setting ``members`` as a list, or ``None`` if it is not set.

    Raises:
        ConfigError: If it is not a list of at least two distinct texts.
    """
    if members is None:
        return None
    plain = list(members) if isinstance(members, ListConfig | list) else [members]
    if len(plain) < 2 or len(set(plain)) < len(plain) or not all(isinstance(one, str) and one.strip() for one in plain):
        raise ConfigError(
            f"members={plain} must be at least two different experiments, with further overrides behind the name, such "
            "as \"members=[best,'targeted trainer.max_epochs=20']\""
        )
    return plain


def check_seed_is_used(config: DictConfig, overrides: Iterable[str]) -> None:
    """Refuse ``seed=`` beside ``seeds=``, which would have no effect.

    Args:
        config: Composed config.
        overrides: Overrides of the command line.

    Raises:
        ConfigError: If both are given.
    """
    given = [override for override in overrides if override.lstrip("+").startswith("seed=")]
    if given and config.seeds is not None:
        raise ConfigError(
            f"{given[-1]} has no effect beside seeds={config.seeds}: remove one of them "
            "(seeds=null removes those of an experiment)"
        )


def check_points(
    compose: Callable[[list[str]], DictConfig],
    jobs: Sequence[list[str]],
    what: str = "job",
    *,
    on_this_machine: bool = True,
) -> list[Point]:
    """Compose and check every job; each data set is opened once.

    Args:
        compose: Function that composes the config of a job from its overrides.
        jobs: Overrides of each job.
        what: Name of a job in messages.
        on_this_machine: Whether the jobs are to run here; otherwise devices are checked where they run.

    Raises:
        ConfigError: If a job is invalid; the message lists every fault with the jobs that have it. Nothing has been
            started or written then.
    """
    points: list[Point] = []
    faults: dict[str, list[int]] = {}
    data = DataSets()
    numbered = list(enumerate(jobs))
    for number, overrides in track(
        numbered, f"checking {len(jobs)} {what}s", disable=len(jobs) < PROGRESS_BAR_FROM, transient=True
    ):
        try:
            config = compose(overrides)
            read_sweep_settings(config)
            check_ensemble(config, in_sweep=True)
            check_seed_is_used(config, overrides)
            plans = plan_runs(config, on_this_machine=on_this_machine)
            points.append(Point(number, overrides, plans, [data.check(plan) for plan in plans]))
        except (TangkaMatchError, HydraException, OmegaConfBaseException) as error:
            for line in _fault_lines(explain(error, "config")):
                faults.setdefault(line, []).append(number)
    if faults:
        listed = "\n  ".join(f"{_affected_jobs(numbers, jobs, what)}: {line}" for line, numbers in faults.items())
        wrong = len({number for numbers in faults.values() for number in numbers})
        raise ConfigError(f"{wrong} of {len(jobs)} {what}s cannot run, and none was started:\n  {listed}")
    return points


class DataSets:
    """Cache of opened data sets, so that each one is opened once for all jobs."""

    def __init__(self) -> None:
        self._opened: dict[str, Any] = {}

    def check(self, plan: RunPlan) -> str:
        """Return the fingerprint of a plan's data, after checking its learning-rate schedule against their size."""
        settings = plan.config["data"]
        seed = plan.settings.seed if settings["train_share"] < 1 else None  # the seed draws the share
        key = json.dumps([settings, seed], sort_keys=True)
        if key not in self._opened:
            plan.data.prepare_data()
            plan.data.setup("fit")
            self._opened[key] = plan.data
        check_schedule(replace(plan, data=self._opened[key]))
        return str(self._opened[key].fingerprint)


def _fault_lines(message: str) -> list[str]:
    """Return the faults that a message lists, or the whole message as one."""
    first, *rest = message.splitlines()
    return [line.strip() for line in rest] if rest and first.endswith(":") else [" ".join([first, *rest])]


def _affected_jobs(numbers: list[int], jobs: Sequence[list[str]], what: str) -> str:
    if len(numbers) == len(jobs):
        return f"every {what}"
    named = [" ".join(_distinct_overrides(jobs, number)) for number in numbers]
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return ", ".join(f"{what} {n} ({name})" for n, name in list(zip(numbers, named, strict=True))[:3]) + more


def _distinct_overrides(jobs: Sequence[list[str]], number: int) -> list[str]:
    """Return the overrides of a job that not all jobs share."""
    shared = set.intersection(*(set(job) for job in jobs)) if len(jobs) > 1 else set()
    return [o for o in run_overrides(jobs[number]) if o not in shared]
