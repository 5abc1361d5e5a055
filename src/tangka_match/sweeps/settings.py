"""The typed settings of a sweep; ``conf/sweep/`` holds the values and says what each one means."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tangka_match.sweeps.objectives import check_objective


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
