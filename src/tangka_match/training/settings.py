"""Typed settings of a run; ``conf/`` holds the values and documents each one.

There are no defaults here: every default is in the YAML file of its group. Ranges and contradictions are
checked when a model is built, all of them at once.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from tangka_match.errors import ConfigError
from tangka_match.metric_names import HIGHER_IS_BETTER, RANK_STATISTICS, VAL_PREFIX
from tangka_match.settings import Settings

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0)]


def _check_batches(value: int | float) -> int | float:
    if value < 0 or (isinstance(value, float) and value > 1.0):
        raise ValueError(f"{value} must be a number of batches (int), or a share of them in [0, 1]")
    return value


Batches = Annotated[int | float, AfterValidator(_check_batches)]
"""Number of batches (int) or share of the batches of an epoch (float); 0 turns a limit off."""


_MONITOR_MODES: dict[str, Literal["max", "min"]] = {
    **{f"{VAL_PREFIX}{name}": "max" for name in HIGHER_IS_BETTER},
    **{f"{VAL_PREFIX}{name}": "min" for name in RANK_STATISTICS},
}


def monitor_mode(monitor: str) -> Literal["max", "min"]:
    """Return whether a higher (``"max"``) or lower (``"min"``) value of a validation metric is better.

    Args:
        monitor: Name of the metric as logged.

    Raises:
        ConfigError: If no such metric is logged; the message lists the allowed names.

    >>> monitor_mode("val/rsum"), monitor_mode("val/t2i_median_rank")
    ('max', 'min')
    """
    if monitor not in _MONITOR_MODES:
        raise ConfigError(f"{monitor!r} is not a metric of validation; allowed: {', '.join(_MONITOR_MODES)}")
    return _MONITOR_MODES[monitor]


class PathSettings(Settings):
    """Folders that runs write to; see ``conf/paths``."""

    data: Path
    runs: Path
    checkpoints: Path


class AugmentationSettings(Settings):
    """Shares of the regions and words of training pairs that are changed; see ``conf/augmentation``."""

    region_drop: Share
    word_drop: Share
    region_mask: Share
    word_mask: Share
    region_mix: Share
    synonym: Share
    word_swap: Share


class TrainingSettings(Settings):
    """Model selection, weight averaging, gradient caching and checkpoint interval; see ``conf/training``."""

    monitor: str
    early_stopping_patience: Annotated[int, Field(ge=1)] | None
    ema_decay: OpenShare | None
    swa_begin: OpenShare | None
    chunk_size: Annotated[int, Field(ge=1)] | None
    noisy_pairs_from: OpenShare | None
    lr_multipliers: dict[str, Annotated[float, Field(gt=0.0)]] | None
    checkpoint_every_n_steps: Annotated[int, Field(ge=1)]
    compile: bool
    tf32: bool

    @field_validator("monitor")
    @classmethod
    def _is_logged(cls, monitor: str) -> str:
        monitor_mode(monitor)
        return monitor

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.ema_decay is not None and self.swa_begin is not None:
            raise ValueError(
                f"ema_decay={self.ema_decay} and swa_begin={self.swa_begin}: only one average of the weights can be "
                "kept; set one of them to null"
            )
        return self


class DistillationSettings(Settings):
    """Teachers and the weight of their loss; see ``conf/distillation``. ``loss`` is built by its ``_target_``."""

    teachers: tuple[Path, ...]
    text_model: str | None
    text_prefix: str
    same_above: OpenShare | None
    weight: Annotated[float, Field(ge=0.0)]
    loss: dict[str, Any] | None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.teachers and self.loss is None:
            raise ValueError(
                "distillation.teachers is set, but distillation=none: choose distillation=score or distillation=rank"
            )
        if self.text_model is not None and self.loss is None:
            raise ValueError("distillation.text_model is set, but distillation=none: choose distillation=sentences")
        if self.text_prefix and self.text_model is None:
            raise ValueError(
                f"distillation.text_prefix={self.text_prefix!r} is for an encoder: give distillation.text_model, or "
                'set distillation.text_prefix=""'
            )
        if self.same_above is not None and self.text_model is None:
            raise ValueError(
                f"distillation.same_above={self.same_above} compares captions by sentence vectors: choose "
                "distillation=sentences and give distillation.text_model"
            )
        return self


class TrainerSettings(Settings):
    """Device, precision and length of the run; see ``conf/trainer``.

    Extra fields are further arguments of Lightning's ``Trainer``, passed on unchanged (``training.trainer``).
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    accelerator: Literal["auto", "cpu", "gpu"]
    devices: int
    num_nodes: Annotated[int, Field(ge=1)]
    strategy: Literal["auto", "ddp"]
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    max_epochs: Annotated[int, Field(ge=1)]
    max_steps: int
    gradient_clip_val: Annotated[float, Field(gt=0.0)] | None
    accumulate_grad_batches: Annotated[int, Field(ge=1)]
    limit_train_batches: Batches | None
    overfit_batches: Batches
    fast_dev_run: bool | int
    deterministic: bool | Literal["warn"]
    log_every_n_steps: Annotated[int, Field(ge=1)]
    val_every_n_epochs: Annotated[int, Field(ge=1)]
    progress_bar: bool

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.max_steps == 0 or self.max_steps < -1:
            raise ValueError(f"max_steps={self.max_steps}: give a positive number, or -1 to let max_epochs decide")
        if self.devices == 0 or self.devices < -1:
            raise ValueError(f"devices={self.devices}: give a positive number, or -1 for all devices")
        if self.devices != 1 and self.strategy != "ddp":
            raise ValueError(
                f"devices={self.devices} with strategy={self.strategy!r}: several devices need strategy=ddp "
                "(trainer=ddp or trainer=ddp_cpu)"
            )
        if self.precision == "16-mixed" and self.accelerator == "cpu":
            raise ValueError("precision='16-mixed' with accelerator='cpu': on a CPU use 32-true or bf16-mixed")
        if self.limit_train_batches == 0:
            raise ValueError("limit_train_batches=0 leaves nothing to train on; set 1 or more, or null for all batches")
        if self.fast_dev_run < 0:
            raise ValueError(f"fast_dev_run={self.fast_dev_run} must be true, false or a number of batches")
        if self.limit_train_batches is not None and self.overfit_batches:
            raise ValueError(
                f"limit_train_batches={self.limit_train_batches} and overfit_batches={self.overfit_batches} both limit "
                "the batches of an epoch; set one of them"
            )
        return self


class LoggerSettings(Settings):
    """Experiment tracker in addition to the ledger of the run folder; see ``conf/logger``."""

    kind: Literal["wandb", "csv", "tensorboard", "none"]
    offline: bool | None = None
    project: str | None = None
    entity: str | None = None


class RunSettings(Settings):
    """Settings of a run, except the groups that are built by their ``_target_``."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    tags: tuple[str, ...]
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)]  # saved as it is, and read without conversion
    init_from: Path | None
    paths: PathSettings
    augmentation: AugmentationSettings
    distillation: DistillationSettings
    training: TrainingSettings
    trainer: TrainerSettings
    logger: LoggerSettings
