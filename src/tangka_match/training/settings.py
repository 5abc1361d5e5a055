"""The typed settings of a run; ``conf/`` holds the values and says what each one means.

There are no defaults here: a default has one home, the YAML file of its group. Ranges and contradictions are checked
when a model is built, all faults at once.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PathSettings(_Settings):
    """Where runs write; see ``conf/paths``."""

    data: Path
    runs: Path
    checkpoints: Path


class AugmentationSettings(_Settings):
    """Shares of regions and words of training pairs that are changed; see ``conf/augmentation``."""

    region_drop: Share
    word_drop: Share
    region_mask: Share
    word_mask: Share
    region_mix: Share
    synonym: Share
    word_swap: Share


class TrainingSettings(_Settings):
    """When to stop, what to average, what to trust, how often to save; see ``conf/training``."""

    early_stopping_patience: Annotated[int, Field(ge=1)] | None
    ema_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None
    swa_begin: Annotated[float, Field(gt=0.0, lt=1.0)] | None
    chunk_size: Annotated[int, Field(ge=1)] | None
    noisy_pairs_from: Annotated[float, Field(gt=0.0, lt=1.0)] | None
    lr_multipliers: dict[str, Annotated[float, Field(gt=0.0)]] | None
    checkpoint_every_n_steps: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.ema_decay is not None and self.swa_begin is not None:
            raise ValueError(
                f"ema_decay={self.ema_decay} and swa_begin={self.swa_begin}: a run keeps one average; "
                "set one of them to null"
            )
        return self


class DistillationSettings(_Settings):
    """Who teaches, and how much it counts; see ``conf/distillation``. ``loss`` is built by its ``_target_``."""

    teachers: tuple[Path, ...]
    weight: Annotated[float, Field(ge=0.0)]
    loss: dict[str, Any] | None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.teachers and self.loss is None:
            raise ValueError(
                "distillation.teachers are given, but distillation=none: choose distillation=score or distillation=rank"
            )
        return self


class TrainerSettings(_Settings):
    """Device, precision and length of the run; see ``conf/trainer``."""

    accelerator: Literal["auto", "cpu", "gpu"]
    devices: int
    num_nodes: Annotated[int, Field(ge=1)]
    strategy: Literal["auto", "ddp"]
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    max_epochs: Annotated[int, Field(ge=1)]
    max_steps: int
    gradient_clip_val: Annotated[float, Field(gt=0.0)] | None
    deterministic: bool | Literal["warn"]
    log_every_n_steps: Annotated[int, Field(ge=1)]
    val_every_n_epochs: Annotated[int, Field(ge=1)]
    progress_bar: bool

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.max_steps == 0 or self.max_steps < -1:
            raise ValueError(f"max_steps={self.max_steps}: give a positive number, or -1 to let max_epochs decide")
        if self.devices == 0 or self.devices < -1:
            raise ValueError(f"devices={self.devices}: give a positive number, or -1 for every device")
        if self.devices != 1 and self.strategy != "ddp":
            raise ValueError(
                f"devices={self.devices} with strategy={self.strategy!r}: several devices need strategy=ddp "
                "(trainer=ddp or trainer=ddp_cpu)"
            )
        if self.precision == "16-mixed" and self.accelerator == "cpu":
            raise ValueError("precision='16-mixed' with accelerator='cpu': on a CPU use 32-true or bf16-mixed")
        return self


class LoggerSettings(_Settings):
    """Where metrics go beside the run folder's own ledger; see ``conf/logger``."""

    kind: Literal["wandb", "csv", "tensorboard", "none"]
    offline: bool = True
    project: str = "tangka_match"
    entity: str | None = None


class RunSettings(_Settings):
    """Everything about a run that is not the data, the model, the loss or the optimiser."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    tags: tuple[str, ...]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    init_from: Path | None
    paths: PathSettings
    augmentation: AugmentationSettings
    distillation: DistillationSettings
    training: TrainingSettings
    trainer: TrainerSettings
    logger: LoggerSettings

    @model_validator(mode="after")
    def _agree(self) -> Self:
        patience, every = self.training.early_stopping_patience, self.trainer.val_every_n_epochs
        if patience is not None and patience * every >= self.trainer.max_epochs:
            raise ValueError(
                f"training.early_stopping_patience={patience} validations of {every} epoch(s) can never stop a run of "
                f"trainer.max_epochs={self.trainer.max_epochs}: lower the patience, or set it to null"
            )
        return self
