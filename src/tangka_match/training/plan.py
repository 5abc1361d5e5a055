"""Plan of a checked run before training: typed settings, the data module, and factories of the other parts."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import nn

from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.errors import ConfigError, count
from tangka_match.losses import DistillationLoss
from tangka_match.training.module import SchedulerFactory
from tangka_match.training.optimisation import OptimizerFactory, clip_warmup
from tangka_match.training.settings import RunSettings
from tangka_match.training.trainer import RunLength, run_length


class Reporting(NamedTuple):
    """Reports from a run to a study, which may prune the run.

    Attributes:
        metric: Validation metric to report, as logged: the objective of the study.
        report: Called with the epoch, from 0, and the value after each validation; returns whether to prune the run.
    """

    metric: str
    report: Callable[[int, float], bool]


@dataclass(frozen=True)
class SweepJob:
    """Job of a sweep to which a run belongs; the records keep the first three fields.

    Args:
        sweep: Id of the sweep, which is the W&B group.
        number: Number of the job, from 0; in a study the number of the trial.
        overrides: Overrides of this job, such as ``optimizer.lr=0.001``.
        reporting: What the run reports to the study; ``None`` if nothing is pruned.
    """

    sweep: str
    number: int
    overrides: tuple[str, ...]
    reporting: Reporting | None = None


@dataclass(frozen=True)
class RunPlan:
    """Plan of a composed and checked run; nothing has been written yet.

    Args:
        settings: Typed settings.
        config: The composed config as plain values, for the records.
        config_yaml: The same as YAML text.
        data: Data module, not yet set up.
        model: Hyper-parameters of the matcher with ``_target_``, as a checkpoint keeps them.
        build_model: Builds the matcher from ``vocab_size``, ``feature_dim`` and ``num_regions``.
        build_loss: Builds the loss.
        optimizer: Builds the optimizer from parameter groups.
        scheduler: Builds the learning-rate schedule from the optimizer and ``total_steps``.
        build_callbacks: Builds the callbacks of the group ``callbacks``.
        distillation_loss: Loss between the scores of a student and its teachers; ``None`` without teachers.
        overrides: Overrides of the command line, which name the run.
        draw_curves: Draws the events of a ledger to a picture; ``None`` draws nothing.
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
    build_callbacks: Callable[[], list[pl.Callback]] = list
    distillation_loss: DistillationLoss | None = None
    overrides: tuple[str, ...] = ()
    draw_curves: Callable[[Iterable[Mapping[str, Any]], Path], None] | None = None


def planned_length(plan: RunPlan, processes: int = 1) -> RunLength:
    """Compute the length of a run whose data are set up.

    Args:
        plan: The run.
        processes: Processes that share the batches of an epoch.

    Raises:
        ConfigError: If ``trainer`` limits an epoch to less than one batch.
    """
    batches = len(plan.data.batch_sampler)
    share = batches // processes if plan.data.drop_last else -(-batches // processes)
    return run_length(plan.settings.trainer, max(share, 1))


def check_schedule(plan: RunPlan) -> None:
    """Build the learning-rate schedule once, so that a wrong one is reported before a run folder is made.

    Raises:
        ConfigError: If the schedule refuses its settings or the length of the run.
    """
    plan.scheduler(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]), total_steps=planned_length(plan).steps)


def check_negatives(plan: RunPlan, processes: int) -> None:
    """Check that a batch holds more than one pair: the negatives of a pair are the others of its batch.

    Args:
        plan: A run whose data are set up.
        processes: Processes that are known to share a batch; several devices share one as well.

    Raises:
        ConfigError: If every batch is one pair.
    """
    sampler = plan.data.batch_sampler
    if (
        processes > 1
        or plan.settings.trainer.devices * plan.settings.trainer.num_nodes != 1
        or min(sampler.batch_size, sampler.epoch_pairs) > 1
    ):
        return
    raise ConfigError(
        f"data.batch_size={plan.data.batch_size}: an epoch of {count(sampler.epoch_pairs, 'pair')} has batches of one "
        "pair, which has no negatives, so that nothing is learnt; set data.batch_size to at least 2 (128 by default) "
        "and train on 2 pairs or more. If memory does not suffice, set training.chunk_size=1 (gradient caching) instead"
    )


def length_warnings(plan: RunPlan, length: RunLength) -> list[str]:
    """Describe settings that do not fit the length of the run, and what is done instead.

    Args:
        plan: The run.
        length: Its length.
    """
    warnings = []
    warmup = plan.config.get("scheduler", {}).get("warmup_steps")
    if isinstance(warmup, int) and (clipped := clip_warmup(warmup, length.steps)) < warmup:
        warnings.append(
            f"scheduler.warmup_steps={warmup}, but the run has {length.steps:,} optimizer steps: the warm-up is "
            f"shortened to {clipped:,} (10 % of the run)"
        )
    patience, validations = plan.settings.training.early_stopping_patience, _validations(plan, length)
    if patience is not None and patience >= validations:
        warnings.append(
            f"training.early_stopping_patience={patience}, but the run has {validations:,} validations: early stopping "
            "cannot end it"
        )
    sampler = plan.data.batch_sampler
    if not sampler.drop_last and sampler.world_size == 1 and sampler.epoch_pairs % sampler.batch_size == 1:
        warnings.append(
            f"data.batch_size={sampler.batch_size} leaves one of {sampler.epoch_pairs:,} pairs for the last batch of "
            "every epoch, where it has no negatives; set data.drop_last=true, or another data.batch_size"
        )
    return warnings


def _validations(plan: RunPlan, length: RunLength) -> int:
    settings = plan.settings.trainer
    interval = (settings.model_extra or {}).get("val_check_interval")
    per_epoch = 1
    if isinstance(interval, float):
        per_epoch = int(1 / interval)
    elif isinstance(interval, int):
        per_epoch = max(length.batches_per_epoch // interval, 1)
    return math.ceil(length.epochs / settings.val_every_n_epochs) * per_epoch
