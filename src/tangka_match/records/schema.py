"""Schema of the records of a run: every field that a reader uses, with its type.

A line of a ledger, or a file of a run folder, that does not fit is damaged: readers skip, count and name it
(`run_files`). Fields that are not listed here are kept as they are.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict  # that of typing lacks what pydantic needs before Python 3.12

LATEST = 2.0**40
"""Upper bound of plausible times, in seconds since 1970; a later time means that the record is damaged."""

Time = Annotated[float, Field(gt=-LATEST, lt=LATEST)]
Whole = Annotated[int, Field(ge=0, lt=2**53)]
"""A count, a step or a number of a job; larger integers are taken for damage."""
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Values = dict[str, float]
"""Metrics by name; NaN and infinity are values."""
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
OPEN = ConfigDict(strict=True, extra="allow")
"""No conversion: a string is not a number and neither is a boolean; further fields are allowed."""


@with_config(OPEN)
class _Timed(TypedDict):
    time: Time


class _Event(_Timed):
    event: str


class StartEvent(_Timed):
    """First event of a run."""

    event: Literal["start"]
    name: NotRequired[str]
    tags: NotRequired[list[str]]
    seed: NotRequired[Whole | None]
    sweep: NotRequired[str | None]
    job: NotRequired[Whole | None]
    overrides: NotRequired[list[str]]
    config_hash: NotRequired[str]
    data_fingerprint: NotRequired[str | None]
    git_commit: NotRequired[str | None]
    sources: NotRequired[str | None]
    num_parameters: NotRequired[Whole | None]
    parent: NotRequired[dict[str, Any] | None]


class StepEvent(_Timed):
    """``resume`` or ``checkpoint``."""

    event: Literal["resume", "checkpoint"]
    step: Whole


class MetricsEvent(_Timed):
    """Metrics logged after an optimizer step."""

    event: Literal["metrics"]
    step: Whole
    epoch: Whole
    values: Values


class PhasesEvent(_Timed):
    """Seconds of the phases of training since the last such event."""

    event: Literal["phases"]
    seconds: dict[str, Amount]
    gpu_busy: NotRequired[Amount]
    peak_memory_mib: NotRequired[Amount]


class VerdictEvent(_Timed):
    """Verdict of the training guard."""

    event: Literal["verdict"]
    code: str
    message: str


class EndEvent(_Timed):
    """End of a run or of its continuation."""

    event: Literal["end"]
    status: Literal["finished", "pruned", "stopped", "failed"]


EVENT: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        MetricsEvent | StepEvent | StartEvent | PhasesEvent | VerdictEvent | EndEvent, Field(discriminator="event")
    ]
)
"""Event of a ledger that readers use."""
OTHER_EVENT: TypeAdapter[Any] = TypeAdapter(_Event)
"""Event of any other kind, such as ``environment``."""


@with_config(OPEN)
class SavedConfig(TypedDict, total=False):
    """``config.yaml``: the settings that readers use without building the run."""

    name: str
    tags: list[str]
    seed: Whole
    paths: dict[str, Any]
    data: dict[str, Any]
    model: dict[str, Any]
    loss: dict[str, Any]
    training: dict[str, Any]
    trainer: dict[str, Any]


@with_config(OPEN)
class HeldOut(TypedDict, total=False):
    """Results on the held-out fold of a cross-validation."""

    metrics: Values
    ci95: dict[str, Interval]
    num_images: Whole
    num_captions: Whole


@with_config(OPEN)
class Result(TypedDict, total=False):
    """``result.json``."""

    val_metrics: Values
    val_ci95: dict[str, Interval]
    best_step: Whole | None
    num_images: Whole
    num_captions: Whole
    num_parameters: Whole
    data_fingerprint: str | None
    held_out: HeldOut | None


@with_config(OPEN)
class Environment(TypedDict, total=False):
    """``environment.json``."""

    command: str | None
    git_commit: str | None


CONFIG: TypeAdapter[Any] = TypeAdapter(SavedConfig)
RESULT: TypeAdapter[Any] = TypeAdapter(Result)
ENVIRONMENT: TypeAdapter[Any] = TypeAdapter(Environment)
