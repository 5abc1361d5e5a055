"""A longer run that continues from the last checkpoint of another one, with all its settings but the length.

It equals neither its parent nor a run that had this length from the start: whatever depends on the share of the run
(learning rate, loss schedules, freezing) is that of the longer run from its first step on.
"""

import logging
import re
import shutil
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch

from tangka_match.errors import CheckpointError, ConfigError
from tangka_match.records.run_folder import RunFolder
from tangka_match.retrieval.metadata import METADATA_KEY, check_metadata, read_checkpoint
from tangka_match.training.distributed import is_main_process
from tangka_match.training.plan import RunPlan, planned_length

logger = logging.getLogger(__name__)


class Parent(NamedTuple):
    """Run that a continuation starts from.

    Attributes:
        folder: Its folder.
        step: Optimizer steps of its ``last.ckpt``.
        metadata: Metadata of its ``last.ckpt``.
    """

    folder: RunFolder
    step: int
    metadata: dict[str, Any]

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.folder.run_id

    def record(self) -> dict[str, Any]:
        """Return what the records of the continuation say about its parent."""
        return {"run_id": self.run_id, "step": self.step}

    def hand_over(self, folder: RunFolder, metadata: dict[str, Any]) -> None:
        """Copy both checkpoints to the continuation: it may never become better, or be stopped before it writes any.

        Args:
            folder: Folder of the continuation.
            metadata: Metadata of its checkpoints.

        Raises:
            CheckpointError: If the data, the vocabulary or the model have changed.
        """
        check_metadata(self.folder.last, self.metadata, metadata)
        for source, target in ((self.folder.best, folder.best), (self.folder.last, folder.last)):
            partial = target.with_name(target.name + ".partial")
            shutil.copyfile(source, partial)
            partial.replace(target)


def read_parent(folder: RunFolder) -> Parent:
    """Read the last checkpoint of a run that is to go on longer.

    Raises:
        CheckpointError: If ``last.ckpt`` or ``best.ckpt`` is missing or damaged.
        TrainingError: If the run is still going.
    """
    if is_main_process():  # the others would find its lock
        folder.lock().close()
    for path in (folder.best, folder.last):
        if not path.exists():
            raise CheckpointError(
                f"{path} does not exist, so run {folder.run_id} cannot go on longer: set "
                "paths.checkpoints=<folder that holds the checkpoints now>, or start a new run"
            )
    checkpoint = read_checkpoint(folder.last)
    return Parent(folder, int(checkpoint["global_step"]), checkpoint[METADATA_KEY])


def check_continuation(parent: Parent, plan: RunPlan) -> None:
    """Check the length of a continuation after ``setup`` of its data, and log what happens to the schedule.

    Args:
        parent: The run that it continues.
        plan: Its plan.

    Raises:
        ConfigError: If it is not longer than its parent, or its schedule would stay that of the parent.
    """
    length, trainer = planned_length(plan), plan.settings.trainer
    if length.steps <= parent.step:
        raise ConfigError(
            f"resume={parent.run_id}: it has done {parent.step:,} optimizer steps of {length.steps_per_epoch:,} per "
            f"epoch; trainer.max_epochs={trainer.max_epochs} and trainer.max_steps={trainer.max_steps} give "
            f"{length.steps:,}: set trainer.max_epochs above {-(-parent.step // length.steps_per_epoch):,}"
            + (", and trainer.max_steps=-1" if trainer.max_steps > 0 else "")
        )
    if keeps_length(plan, parent.step, length.steps):
        name = str(plan.config.get("scheduler", {}).get("_target_", "")).rpartition(".")[2]
        raise ConfigError(
            f"resume={parent.run_id}: the state of the schedule {name} holds the length of the run, so that it cannot "
            f"go on longer: start a new run with its weights (init_from={parent.folder.last}), or train with a "
            "schedule of this project, such as scheduler=cosine"
        )
    logger.info(
        "continuation of run %s at step %s of %s: the learning-rate schedule is that of the longer run from here on, "
        "so the rate goes on at %.3g of its peak; loss schedules, too, are those of the longer run, and early "
        "stopping counts anew. The result is not that of one long run",
        parent.run_id,
        f"{parent.step:,}",
        f"{length.steps:,}",
        lr_ratio(plan, length.steps, parent.step),
    )


def keeps_length(plan: RunPlan, steps: int, longer: int) -> bool:
    """Return whether the saved state of a schedule depends on the length of the run, as that of torch's OneCycleLR.

    Args:
        plan: The run, with its schedule.
        steps: One number of optimizer steps.
        longer: Another one.
    """
    schedules = []
    for total in (steps, longer):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedules.append(plan.scheduler(optimizer, total_steps=total).state_dict())
    # Texts, because a state may hold functions and tensors; without addresses, which differ between equal objects.
    first, second = (re.sub(r" at 0x[0-9a-f]+", "", repr(state)) for state in schedules)
    return first != second


def lr_ratio(plan: RunPlan, total_steps: int, step: int) -> float:
    """Return the learning rate at a step of a run, relative to the peak.

    Args:
        plan: The run, with its schedule.
        total_steps: Optimizer steps of the run.
        step: Optimizer steps done.
    """
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = plan.scheduler(optimizer, total_steps=total_steps)
    for _ in range(step):
        optimizer.step()
        schedule.step()
    return float(optimizer.param_groups[0]["lr"])


class FreshPatience(pl.Callback):
    """Callback that lets early stopping count anew: the patience of the parent may be used up."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reset the count, after the states of the callbacks were loaded."""
        for callback in trainer.early_stopping_callbacks:
            callback.wait_count = 0
