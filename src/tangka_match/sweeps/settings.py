"""The typed settings of a sweep: objectives, the search space, and the rest of ``conf/sweep/``."""

import difflib
import itertools
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tangka_match.errors import ConfigError, TrainingError
from tangka_match.metric_names import HIGHER_IS_BETTER, PRIMARY_METRIC, RANK_STATISTICS
from tangka_match.records.ledger import read_ledger

LOWER_IS_BETTER = (*RANK_STATISTICS, "parameters", "step_seconds")
MAIN = PRIMARY_METRIC


def check_objective(name: str) -> None:
    """Refuse what no run reports.

    Raises:
        ConfigError: Listing what there is.

    >>> check_objective("mean_r10")
    Traceback (most recent call last):
    tangka_match.errors.ConfigError: objectives: no run reports 'mean_r10'. Did you mean mean_r1? Allowed: mean_r1, ...
    """
    known = (*HIGHER_IS_BETTER, *LOWER_IS_BETTER)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"objectives: no run reports {name!r}.{hint} Allowed: {', '.join(known)}")


def direction_of(name: str) -> Literal["maximize", "minimize"]:
    """``maximize`` or ``minimize``, as Optuna calls it.

    >>> direction_of("mean_r1"), direction_of("parameters")
    ('maximize', 'minimize')
    """
    return "maximize" if name in HIGHER_IS_BETTER else "minimize"


def read_figures(run: Path) -> dict[str, float]:
    """Read every figure of a run that has ended well.

    Args:
        run: Its folder.

    Returns:
        The metrics of ``best.ckpt`` on validation, ``parameters``, and ``step_seconds``, the median time of an
        optimizer step, where the run is long enough to say.

    Raises:
        TrainingError: If the folder's ``result.json`` cannot be read.
    """
    path = run / "result.json"
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        figures = {name: float(value) for name, value in result["val_metrics"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path}: not the result of a run ({error}); delete the folder {run}") from error
    if "num_parameters" in result:
        figures["parameters"] = float(result["num_parameters"])
    return figures | _step_seconds(run)


def _step_seconds(run: Path) -> dict[str, float]:
    """From the times in the ledger at which training losses were logged; a pause of a resumed run is one outlier."""
    logged = [e for e in read_ledger(run / "ledger.jsonl") if e["event"] == "metrics" and "train/loss" in e["values"]]
    gaps = [
        (after["time"] - before["time"]) / (after["step"] - before["step"])
        for before, after in itertools.pairwise(logged)
        if after["step"] > before["step"]
    ]
    return {"step_seconds": statistics.median(gaps)} if gaps else {}


class SweepSettings(BaseModel):
    """Settings of grids and studies; ranges and contradictions are checked when it is built."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None
    any_commit: bool
    retries: Annotated[int, Field(ge=0)]
    space: dict[str, str | int | float | bool]
    n_trials: Annotated[int, Field(ge=1)]
    sampler: Literal["tpe", "cmaes", "random", "grid"]
    sampler_seed: Annotated[int, Field(ge=0)]
    objectives: Annotated[list[str], Field(min_length=1)]
    pruner: Literal["median", "none"]
    prune_after_trials: Annotated[int, Field(ge=1)]
    prune_after_epochs: Annotated[int, Field(ge=0)]
    folder: Path | None
    job: int | None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for name in self.objectives:
            check_objective(name)
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives={self.objectives}: each one once")
        if self.sampler == "cmaes" and len(self.objectives) > 1:
            raise ValueError(f"sampler='cmaes' with {len(self.objectives)} objectives: it knows one; use tpe")
        return self

    @property
    def prunes(self) -> bool:
        """Whether trials may be stopped early; with several objectives nobody can say which one lags."""
        return self.pruner != "none" and len(self.objectives) == 1


@dataclass(frozen=True)
class Dimension:
    """One searched setting.

    Args:
        name: Dotted, as on the command line: ``optimizer.lr``.
        distribution: What is searched.
    """

    name: str
    distribution: BaseDistribution

    def corners(self) -> list[str]:
        """Values that must be legal if all of them are to be: both bounds, or every choice; as text."""
        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return [str(choice) for choice in distribution.choices]
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        return [repr(distribution.low), repr(distribution.high)]

    def grid(self) -> list[str | int | float]:
        """Every value.

        Raises:
            ConfigError: If there are infinitely many.
        """
        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return list(distribution.choices)  # type: ignore[arg-type]
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        if distribution.step is None or distribution.log:
            raise ConfigError(
                f"{self.name}: an interval has no end of values, and sweep.sampler=grid wants them all: list them "
                f"({self.name}=0.1,0.2), or use sweep.sampler=tpe or random"
            )
        if isinstance(distribution, IntDistribution):
            return list(range(distribution.low, distribution.high + 1, distribution.step))
        count = round((distribution.high - distribution.low) / distribution.step)
        return [distribution.low + i * distribution.step for i in range(count + 1)]


def choices(name: str, values: Sequence[str]) -> Dimension:
    """One of several values, each as text for the command line.

    Raises:
        ConfigError: If there are none.
    """
    if not values:
        raise ConfigError(f"{name}: no values to choose from")
    return Dimension(name, CategoricalDistribution(list(dict.fromkeys(values))))


def interval(
    name: str, low: float, high: float, *, log: bool = False, whole: bool = False, step: float | None = None
) -> Dimension:
    """Numbers from ``low`` to ``high``, both included.

    Args:
        name: Of the setting.
        low: Lower bound.
        high: Upper bound.
        log: Search evenly in the logarithm.
        whole: Whole numbers only.
        step: Between values; ``None`` takes every number.

    Raises:
        ConfigError: If the bounds are the wrong way round, or a logarithm is asked of numbers that have none.

    >>> interval("loss.margin", 0.4, 0.1)
    Traceback (most recent call last):
    tangka_match.errors.ConfigError: loss.margin: the lower bound 0.4 is above the upper bound 0.1: swap them
    """
    if low > high:
        raise ConfigError(f"{name}: the lower bound {low} is above the upper bound {high}: swap them")
    if log and low <= 0:
        raise ConfigError(f"{name}: searched in the logarithm from {low}: the lower bound must be above 0")
    if log and step is not None:
        raise ConfigError(
            f"{name}: a range with steps cannot be searched in the logarithm: use interval({low}, {high})"
        )
    if whole:
        return Dimension(name, IntDistribution(int(low), int(high), log=log, step=int(step or 1)))
    return Dimension(name, FloatDistribution(float(low), float(high), log=log, step=step))
