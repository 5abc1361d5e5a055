"""The jobs of a sweep, all composed and checked before the first one starts."""

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
from tangka_match.config.check import describe_fault, raise_faults
from tangka_match.config.explain import explain
from tangka_match.config.launch import keep_absolute_paths
from tangka_match.errors import ConfigError, TangkaMatchError
from tangka_match.records.environment import CodeVersion
from tangka_match.records.past_runs import PastRun, find_runs
from tangka_match.records.setting_names import SWEEP_PREFIXES
from tangka_match.sweeps.settings import SweepSettings
from tangka_match.training.plan import RunPlan, check_schedule

MANY = 8  # jobs from which composing them takes long enough for a progress bar


@dataclass(frozen=True)
class Point:
    """A checked job.

    Args:
        number: From 0.
        overrides: Of the command line, for this job.
        plans: A run each, one a seed.
        fingerprints: Of the data of each run.
    """

    number: int
    overrides: list[str]
    plans: list[RunPlan]
    fingerprints: list[str]

    @property
    def shown(self) -> list[str]:
        """The overrides that say something about the runs."""
        return own_overrides(self.overrides)

    def finished_runs(self, code: CodeVersion | None) -> list[PastRun] | None:
        """The runs that make this job superfluous, one a seed; ``None`` if any is missing."""
        found = []
        for plan, fingerprint in zip(self.plans, self.fingerprints, strict=True):
            runs = find_runs(plan.settings.paths.runs, plan.config, fingerprint, code)
            finished = [run for run in runs if run.status == "finished"]
            if not finished:
                return None
            found.append(finished[0])
        return found


def own_overrides(overrides: Iterable[str]) -> list[str]:
    """Overrides without those that steer the sweep.

    >>> own_overrides(["+experiment=debug", "seed=1", "sweep.retries=2", "hydra.sweeper.params=null"])
    ['+experiment=debug', 'seed=1']
    """
    return [o for o in overrides if not o.lstrip("+~").startswith(SWEEP_PREFIXES)]


def read_sweep_settings(config: DictConfig) -> SweepSettings:
    """The typed settings of ``config.sweep``.

    Raises:
        ConfigError: Listing every fault.
    """
    plain = OmegaConf.to_container(config.sweep, resolve=True, throw_on_missing=True)
    try:
        return SweepSettings.model_validate(plain)
    except ValidationError as error:
        raise_faults([_sweep_fault(item) for item in error.errors()])
        raise


def _sweep_fault(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        known = ", ".join(SweepSettings.model_fields)
        return f"sweep.{item['loc'][0]}: there is no such setting. Known in sweep: {known}"
    return describe_fault({**item, "loc": ("sweep", *item["loc"])})


def plans_of(config: DictConfig) -> list[RunPlan]:
    """Check a composed job and plan its runs, one a seed.

    Raises:
        ConfigError: For every fault of the job, and if it asks for several devices.
    """
    config = copy.deepcopy(config)
    OmegaConf.set_struct(config, False)
    config.pop("sweep")
    config.pop("ensemble")
    seeds, resume = config.pop("seeds"), config.pop("resume")
    if resume is not None:
        raise ConfigError(
            f"resume={resume} goes on with one run; a sweep goes on when the same command is given again without it"
        )
    keep_absolute_paths(config)
    plans = []
    for seed in check_seeds(seeds) or [config.seed]:
        config.seed = seed
        plans.append(build_plan(config))
    trainer = plans[0].settings.trainer
    if trainer.devices != 1 or trainer.num_nodes != 1 or trainer.strategy != "auto":
        raise ConfigError(
            f"trainer.devices={trainer.devices}, trainer.num_nodes={trainer.num_nodes}, "
            f"trainer.strategy={trainer.strategy}: a job of a sweep, and each of several seeds, has one device: "
            "every process of a distributed run would start the whole sweep again. Use trainer=gpu with "
            "hydra/launcher=local_pool to keep several GPUs busy, and trainer=ddp in a single run"
        )
    return plans


def check_seeds(seeds: Any) -> list[int] | None:
    """The seeds as a list, or ``None`` where none are given.

    Raises:
        ConfigError: If they are not different whole numbers from 0.
    """
    if seeds is None:
        return None
    plain = list(seeds) if isinstance(seeds, ListConfig | list) else [seeds]
    if not plain or any(not isinstance(s, int) or isinstance(s, bool) or s < 0 for s in plain) or _repeated(plain):
        raise ConfigError(f"seeds={plain}: give different whole numbers from 0, such as 'seeds=[0,1,2]'")
    return plain


def _repeated(values: Sequence[Any]) -> bool:
    return len(set(values)) < len(values)


def check_points(
    compose: Callable[[list[str]], DictConfig], jobs: Sequence[list[str]], what: str = "job"
) -> list[Point]:
    """Compose and check every job, and open every data set once.

    Args:
        compose: Makes the config of a job from its overrides.
        jobs: Overrides of each.
        what: One of them is called, in messages.

    Raises:
        ConfigError: Listing every fault with the jobs that have it; nothing has been started or written then.
    """
    points: list[Point] = []
    faults: dict[str, list[int]] = {}
    data = DataSets()
    numbered = list(enumerate(jobs))
    for number, overrides in track(numbered, f"checking {len(jobs)} {what}s", disable=len(jobs) < MANY, transient=True):
        try:
            plans = plans_of(compose(overrides))
            points.append(Point(number, overrides, plans, [data.check(plan) for plan in plans]))
        except (TangkaMatchError, HydraException, OmegaConfBaseException) as error:
            for line in _lines(explain(error, "config")):
                faults.setdefault(line, []).append(number)
    if faults:
        listed = "\n  ".join(f"{_whose(numbers, jobs, what)}: {line}" for line, numbers in faults.items())
        wrong = len({number for numbers in faults.values() for number in numbers})
        raise ConfigError(f"{wrong} of {len(jobs)} {what}s cannot run, and none was started:\n  {listed}")
    return points


class DataSets:
    """Opens each data set that the jobs name once, whatever else differs between them."""

    def __init__(self) -> None:
        self._opened: dict[str, Any] = {}

    def check(self, plan: RunPlan) -> str:
        """The fingerprint of the plan's data; its schedule is tried against their size."""
        settings = plan.config["data"]
        of_seed = plan.settings.seed if settings["train_share"] < 1 else None  # a share is drawn by the seed
        key = json.dumps([settings, of_seed], sort_keys=True)
        if key not in self._opened:
            plan.data.prepare_data()
            plan.data.setup("fit")
            self._opened[key] = plan.data
        check_schedule(replace(plan, data=self._opened[key]))
        return str(self._opened[key].fingerprint)


def _lines(message: str) -> list[str]:
    """The faults of a message that lists several, else the message."""
    first, *rest = message.splitlines()
    return [line.strip() for line in rest] if rest and first.endswith(":") else [" ".join([first, *rest])]


def _whose(numbers: list[int], jobs: Sequence[list[str]], what: str) -> str:
    if len(numbers) == len(jobs):
        return f"every {what}"
    named = [" ".join(_swept(jobs, number)) for number in numbers]
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return ", ".join(f"{what} {n} ({name})" for n, name in list(zip(numbers, named, strict=True))[:3]) + more


def _swept(jobs: Sequence[list[str]], number: int) -> list[str]:
    """What sets this job apart from the others."""
    shared = set.intersection(*(set(job) for job in jobs)) if len(jobs) > 1 else set()
    return [o for o in own_overrides(jobs[number]) if o not in shared]
