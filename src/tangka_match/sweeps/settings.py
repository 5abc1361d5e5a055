"""Settings of a sweep (``conf/sweep/``) and the objectives it may have."""

import difflib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tangka_match.errors import ConfigError
from tangka_match.metric_names import HIGHER_IS_BETTER, METRICS, RANK_STATISTICS
from tangka_match.settings import Settings

LOWER_IS_BETTER = (*RANK_STATISTICS, "parameters", "step_seconds")


class SweepSettings(Settings):
    """Settings of grids and studies; ranges and contradictions are checked on construction."""

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
    def _check_objectives(self) -> Self:
        for name in self.objectives:
            check_objective(name)
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives={self.objectives}: give each one once")
        if self.sampler == "cmaes" and len(self.objectives) > 1:
            raise ValueError(
                f"sampler='cmaes' with {len(self.objectives)} objectives: CMA-ES has a single one; use sampler=tpe"
            )
        return self

    @property
    def prunes(self) -> bool:
        """Whether trials may be stopped early, which only a single validation metric decides.

        Several objectives do not rank trials; ``parameters`` and ``step_seconds`` are not measured per epoch.
        """
        return self.pruner != "none" and len(self.objectives) == 1 and self.objectives[0] in METRICS


def check_objective(name: str) -> None:
    """Check that runs report a metric.

    Raises:
        ConfigError: If they do not; the message lists the metrics that they report.

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
    """Return the direction of an objective in Optuna's terms.

    >>> direction_of("mean_r1"), direction_of("parameters")
    ('maximize', 'minimize')
    """
    return "maximize" if name in HIGHER_IS_BETTER else "minimize"
