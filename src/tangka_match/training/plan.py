"""What the runner needs to know to train: typed settings, the data, and how to build the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.losses import DistillationLoss
from tangka_match.training.module import OptimizerFactory, SchedulerFactory
from tangka_match.training.settings import RunSettings


@dataclass(frozen=True)
class SweepJob:
    """A run's place in a sweep; the records keep the first three.

    Args:
        sweep: Id of the sweep: the W&B group.
        number: Of the job, from 0; in a study the number of the trial.
        overrides: What the command line set for this job: ``optimizer.lr=0.001``.
        report: Told the epoch, from 0, and ``val/mean_r1`` after each validation; answers whether the run shall stop
            because it is not worth going on. ``None`` where nobody asks.
    """

    sweep: str
    number: int
    overrides: tuple[str, ...]
    report: Callable[[int, float], bool] | None = None


@dataclass(frozen=True)
class RunPlan:
    """A composed and checked run, before anything is written.

    Args:
        settings: Typed settings.
        config: The whole composed config as plain values, for the records.
        config_yaml: The same as YAML text.
        data: The data module, not yet set up.
        model: Hyper-parameters of the matcher with ``_target_``, plain, as a checkpoint keeps them.
        build_model: Makes the matcher from ``vocab_size``, ``feature_dim`` and ``num_regions``.
        build_loss: Makes the loss.
        optimizer: Makes the optimizer from parameter groups.
        scheduler: Makes the learning-rate schedule from the optimizer and ``total_steps``.
        distillation_loss: Between a student's and its teachers' scores; ``None`` without teachers.
        overrides: What the command line set, for the run's name.
    """

    settings: RunSettings
    config: dict[str, Any]
    config_yaml: str
    data: RegionTextDataModule
    model: dict[str, Any]
    build_model: Callable[..., nn.Module]
    build_loss: Callable[[], nn.Module]
    optimizer: OptimizerFactory
    scheduler: SchedulerFactory
    distillation_loss: DistillationLoss | None = None
    overrides: tuple[str, ...] = ()


def check_schedule(plan: RunPlan) -> None:
    """Make the learning-rate schedule once, so that a warm-up longer than the run leaves no folder behind."""
    trainer = plan.settings.trainer
    steps = trainer.max_epochs * plan.data.steps_per_epoch  # of one process; more of them take fewer
    plan.scheduler(
        torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]),
        total_steps=steps if trainer.max_steps < 0 else min(steps, trainer.max_steps),
    )
