"""Lightning's ``Trainer``: which of its arguments may be set, how long a run is, and how the trainer is built."""

import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from tangka_match.errors import ConfigError
from tangka_match.losses import ContextualLoss
from tangka_match.training.callbacks.checkpoints import AtomicCheckpointIO
from tangka_match.training.loss_scaling import LossScaling
from tangka_match.training.settings import TrainerSettings

REFUSED_ARGUMENTS = {
    "logger": "metrics always go to the ledger of the run folder; choose a further logger with logger=<name>",
    "callbacks": "use the group callbacks, such as +callbacks.mine._target_=<class>",
    "enable_checkpointing": "every run writes best.ckpt and last.ckpt, which resume and evaluate need",
    "default_root_dir": "set paths.runs and paths.checkpoints",
    "use_distributed_sampler": "the batch sampler distributes the batches itself, so that resume is exact",
    "reload_dataloaders_every_n_epochs": "the position in the data would be lost, and resume would not be exact",
    "num_sanity_val_steps": "recall is not defined on a part of the validation gallery",
    "limit_val_batches": "recall is not defined on a part of the validation gallery; use a smaller validation split",
    "limit_test_batches": "training has no test loop; use python -m tangka_match.evaluate",
    "limit_predict_batches": "training has no prediction loop; load the checkpoint with tangka_match.load",
    "check_val_every_n_epoch": "use trainer.val_every_n_epochs",
    "enable_progress_bar": "use trainer.progress_bar",
    "enable_model_summary": "use +callbacks.summary._target_=pytorch_lightning.callbacks.ModelSummary",
    "gradient_clip_algorithm": "gradients are always clipped by their norm, which is logged as train/grad_norm",
    "plugins": "a plugin of this project writes checkpoints atomically; set trainer.precision for mixed precision",
    "barebones": "it turns off the checkpoints and logs that a run consists of",
    "model_registry": "checkpoints are kept in paths.checkpoints",
}
"""Arguments of ``pl.Trainer`` that would break exact resume or the records, with the reason or an alternative."""

KNOWN_ARGUMENTS = tuple(inspect.signature(pl.Trainer).parameters)
OWN_ARGUMENTS = ("val_every_n_epochs", "progress_bar")
"""Settings of ``trainer`` that have another name in ``pl.Trainer``."""
ALLOWED_ARGUMENTS = (*OWN_ARGUMENTS, *(name for name in KNOWN_ARGUMENTS if name not in REFUSED_ARGUMENTS))

_PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}


class RunLength(NamedTuple):
    """Length of a run on each process.

    Attributes:
        batches_per_epoch: Training batches per epoch.
        steps_per_epoch: Optimizer steps per epoch; fewer than batches if gradients are accumulated.
        epochs: Epochs until the run ends.
        steps: Optimizer steps until the run ends.
    """

    batches_per_epoch: int
    steps_per_epoch: int
    epochs: int
    steps: int


def run_length(settings: TrainerSettings, batches: int) -> RunLength:
    """Compute how many batches, optimizer steps and epochs a run takes.

    Args:
        settings: Settings of the trainer.
        batches: Batches of a whole epoch on each process.

    Raises:
        ConfigError: If a share of the batches is less than one batch.
    """
    limit = _limit(settings)
    if isinstance(limit, float):
        if int(batches * limit) == 0:
            raise ConfigError(
                f"trainer: {limit} of the {batches} batches of an epoch is less than one batch; raise "
                "trainer.limit_train_batches or trainer.overfit_batches, or lower data.batch_size"
            )
        limit = int(batches * limit)
    per_epoch = batches if limit is None else min(limit, batches)
    steps_per_epoch = math.ceil(per_epoch / settings.accumulate_grad_batches)
    steps = steps_per_epoch * (1 if settings.fast_dev_run else settings.max_epochs)
    if settings.max_steps > 0 and not settings.fast_dev_run:
        steps = min(steps, settings.max_steps)
    return RunLength(per_epoch, steps_per_epoch, math.ceil(steps / steps_per_epoch), steps)


def _limit(settings: TrainerSettings) -> int | float | None:
    """Return the limit of the training batches per epoch, as a number or a share.

    ``fast_dev_run`` and ``overfit_batches`` become such limits. Lightning's own versions cut the validation gallery
    too, on a part of which recall is not defined.
    """
    if settings.fast_dev_run:
        return int(settings.fast_dev_run)
    return settings.overfit_batches or settings.limit_train_batches


def build_trainer(
    settings: TrainerSettings,
    *,
    strategy: str,
    steps_per_epoch: int,
    callbacks: Sequence[pl.Callback],
    loggers: Sequence[Logger],
    folder: Path,
) -> pl.Trainer:
    """Build the trainer of a run.

    Args:
        settings: Settings of the trainer.
        strategy: Name of the strategy, see ``strategy_for``.
        steps_per_epoch: Optimizer steps per epoch; a longer logging interval is shortened to it, so that every epoch
            has a logged loss.
        callbacks: All callbacks of the run.
        loggers: Loggers; the first one is the ledger's.
        folder: Run folder; a profiler writes its table there.
    """
    further = dict(settings.model_extra or {})
    profiler = further.get("profiler")
    if profiler in _PROFILERS:
        further["profiler"] = _PROFILERS[profiler](dirpath=folder, filename="profile")
    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=strategy,
        precision=None if needs_loss_scaling(settings) else settings.precision,
        max_epochs=1 if settings.fast_dev_run else settings.max_epochs,
        max_steps=-1 if settings.fast_dev_run else settings.max_steps,
        limit_train_batches=_limit(settings),
        accumulate_grad_batches=settings.accumulate_grad_batches,
        gradient_clip_val=settings.gradient_clip_val,
        deterministic=settings.deterministic,
        log_every_n_steps=min(settings.log_every_n_steps, steps_per_epoch),
        check_val_every_n_epoch=settings.val_every_n_epochs,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
        logger=list(loggers),
        # Lightning loads hpc_ckpt_<n>.ckpt from this folder, whichever run has written it.
        default_root_dir=folder,
        plugins=_plugins(settings),
        enable_progress_bar=any(isinstance(c, pl.callbacks.ProgressBar) for c in callbacks),
        enable_model_summary=False,
        **further,
    )


def needs_loss_scaling(settings: TrainerSettings) -> bool:
    """Whether a run trains in float16 with loss scaling, which only NVIDIA GPUs do."""
    return settings.precision == "16-mixed" and torch.cuda.is_available()


def _plugins(settings: TrainerSettings) -> list[Any]:
    """Return the plugins; ``resume`` continues a run, so Slurm's signal writes no ``hpc_ckpt_<n>.ckpt``."""
    slurm = [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []
    return [AtomicCheckpointIO(), *slurm, *([LossScaling()] if needs_loss_scaling(settings) else [])]


def strategy_for(name: str, loss: object, thaw_at: float) -> str:
    """Choose the distributed strategy for a model of which some parameters may get no gradient.

    DDP waits for a gradient of every parameter unless it searches for unused ones at each step. The search costs time,
    so it is only turned on for runs that need it.

    Args:
        name: Value of ``trainer.strategy``.
        loss: Loss of the run; one that reads no scores leaves parameters unused that only scores depend on.
        thaw_at: Share of the run during which a part of the model is frozen.

    >>> from tangka_match.losses import InfoNCELoss
    >>> strategy_for("ddp", InfoNCELoss(), 0.0), strategy_for("ddp", InfoNCELoss(), 0.5)
    ('ddp', 'ddp_find_unused_parameters_true')
    """
    reads_scores = not isinstance(loss, ContextualLoss) or loss.reads_scores
    return "ddp_find_unused_parameters_true" if name == "ddp" and (thaw_at > 0 or not reads_scores) else name
