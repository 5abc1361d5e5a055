"""Training guard: detects collapse, divergence, short schedules and overfitting, and advises what to change."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from tangka_match.errors import TrainingError, count
from tangka_match.losses import CurriculumLoss, TripletMarginLoss, collapse_value
from tangka_match.metric_names import DEFAULT_MONITOR
from tangka_match.training.distributed import ends_step, is_logged_step
from tangka_match.types import FittedMatcher

# Standard deviation of a batch's scores below which they count as equal: rounding gives about 1e-7, a model that
# separates pairs more than 0.05.
EQUAL_SCORES = 2e-3
COLLAPSED_CHECKS = 3


class Verdict(NamedTuple):
    """Verdict of the guard.

    Attributes:
        code: Short name, for programs.
        message: Description and advice, for the user.
        step: Optimizer step of the finding.
    """

    code: str
    message: str
    step: int


def steps_needed(loss: object) -> tuple[int, str]:
    """Return the optimizer steps that a loss may need before recall rises, and the source of the number."""
    if isinstance(loss, TripletMarginLoss) and loss.hard_negatives == 1.0:
        return (
            7_900,
            "with this loss, the published SGRAF left its plateau after 7,900 to 14,700 steps on Flickr30K (SGRAF #13)",
        )
    rise = "in a public VSE-infinity log rsum still rose by 50 points between steps 1,133 and 2,266"
    if isinstance(loss, TripletMarginLoss | CurriculumLoss):
        return 1_100, rise
    return 1_100, f"there is no published figure for {type(loss).__name__}, but with the triplet loss {rise}"


def collapse_advice(loss: object) -> str:
    """Return what to change when a model has collapsed, naming settings of its loss first."""
    if isinstance(loss, TripletMarginLoss) and loss.hard_negatives > 0:
        return (
            "Start from all negatives (loss.hard_negatives=0.0 or loss=curriculum), lower optimizer.lr, or raise "
            "scheduler.warmup_steps; SGRAF's published loss can stay here for thousands of steps and still recover"
        )
    rate = "lower optimizer.lr, or raise scheduler.warmup_steps"
    if isinstance(loss, CurriculumLoss):
        return f"Reach the hardest negatives later or not at all (loss.until, loss.hard_negatives), {rate}"
    return rate[0].upper() + rate[1:]


class TrainingGuard(pl.Callback):
    """Detects collapse, a non-finite loss, a schedule too short for its loss, and overfitting.

    A model has collapsed when all scores of a batch are equal and the loss is at its `collapse_value`, in three logged
    steps in a row.

    Args:
        report: Called with each verdict when it is found.
    """

    def __init__(self, report: Callable[[Verdict], None]) -> None:
        self.verdicts: list[Verdict] = []
        self._report = report
        self._collapsed_checks = 0
        self._train_losses: list[float] = []
        self._unread: list[tuple[int, Tensor]] = []  # step and loss, on the device: reading one waits for it
        self._not_finite: tuple[int, float] | None = None
        self._history: list[dict[str, float]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the length of the run with what its loss needs; models fitted in closed form need no steps."""
        if isinstance(pl_module.matcher, FittedMatcher):
            return
        steps = int(trainer.estimated_stepping_batches)
        epoch = math.ceil(int(trainer.num_training_batches) / trainer.accumulate_grad_batches)
        needed, source = steps_needed(pl_module.loss)
        if steps < needed:
            bounds = {"trainer.max_steps": (trainer.max_steps, needed)} if trainer.max_steps > 0 else {}
            bounds["trainer.max_epochs"] = (trainer.max_epochs or 0, math.ceil(needed / epoch))
            raised = [f"{name} to {enough:,}" for name, (now, enough) in bounds.items() if now < enough]
            self._add_verdict(
                "short_schedule",
                f"this run has {steps:,} optimizer steps, but its loss may need about {needed:,}: {source}. "
                f"An epoch has {count(epoch, 'step')}, so low recall may come from the short run and not from the "
                f"model: raise {' and '.join(raised)}",
                trainer.global_step,
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss of each step; check it and the scores at logged steps.

        Raises:
            TrainingError: If a loss was not finite.
        """
        loss = outputs["loss"].detach() * trainer.accumulate_grad_batches  # Lightning divides it
        self._unread.append((trainer.global_step, loss))
        if ends_step(trainer, batch_idx) and is_logged_step(trainer, trainer.global_step - 1):
            self._check_finite(trainer)
            self._check_collapse(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the losses since the last logged step before a validation; see `on_train_batch_end`."""
        self._check_finite(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Check the losses since the last logged step before a checkpoint is written; see `on_train_batch_end`."""
        self._check_finite(trainer)

    def _read_losses(self) -> None:
        """Copy the losses of the last steps to the host, all at once."""
        if not self._unread:
            return
        losses = torch.stack([loss for _, loss in self._unread]).tolist()
        bad = [(step, loss) for (step, _), loss in zip(self._unread, losses, strict=True) if not math.isfinite(loss)]
        if bad and self._not_finite is None:
            self._not_finite = bad[0]
        self._train_losses += losses
        self._unread = []

    def _check_finite(self, trainer: pl.Trainer) -> None:
        self._read_losses()
        if self._not_finite is None:
            return
        step, loss = self._not_finite
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        raise TrainingError(
            f"the training loss is {loss} at step {step:,}; resuming from a checkpoint would give "
            "the same result. Start a new run with a lower optimizer.lr, a lower trainer.gradient_clip_val, or "
            "trainer.precision=32-true" + (f"; the best weights so far are in {best}" if best else "")
        )

    def _check_collapse(self, trainer: pl.Trainer, module: Any) -> None:
        """Compare the scores and the loss of the step with those of a collapsed model."""
        spread = float(trainer.callback_metrics["train/similarity_std"])
        value, collapsed = math.nan, False
        has_negatives = not bool(module.last_inputs.positives.all())  # a batch of one pair has none
        if has_negatives and spread < EQUAL_SCORES:
            value = collapse_value(module.loss, module.last_inputs)
            collapsed = math.isclose(module.matching_loss, value, rel_tol=0.05, abs_tol=EQUAL_SCORES)
        self._collapsed_checks = self._collapsed_checks + 1 if collapsed else 0
        if self._collapsed_checks == COLLAPSED_CHECKS:
            self._add_verdict(
                "collapse",
                f"all scores of a batch are equal (standard deviation {spread:.1e}) and the loss is at its collapse "
                f"value {value:.3f}: the model does not separate matching from other pairs. "
                f"{collapse_advice(module.loss)}",
                trainer.global_step,
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the curves for the check of overfitting."""
        if trainer.state.fn != "fit":
            return
        self._history.append(
            {
                "epoch": float(trainer.current_epoch),
                "train_loss": sum(self._train_losses) / len(self._train_losses),
                "val_loss": float(trainer.callback_metrics["val/loss"]),
                "mean_r1": float(trainer.callback_metrics[DEFAULT_MONITOR]),
            }
        )
        self._train_losses = []

    def conclude(self, step: int) -> None:
        """Check for overfitting at the end of a run.

        This is not a Lightning hook, because Lightning skips the hooks of a run that is resumed after its last step.

        Args:
            step: Optimizer steps of the run.
        """
        if len(self._history) < 3:
            return
        lowest = min(self._history, key=lambda row: row["val_loss"])
        last = self._history[-1]
        if last["val_loss"] > 1.1 * lowest["val_loss"] and last["train_loss"] < 0.7 * lowest["train_loss"]:
            best = max(self._history, key=lambda row: row["mean_r1"])
            self._add_verdict(
                "overfitting",
                f"since epoch {lowest['epoch']:.0f} the training loss fell from {lowest['train_loss']:.3f} to "
                f"{last['train_loss']:.3f} while the validation loss rose from {lowest['val_loss']:.3f} to "
                f"{last['val_loss']:.3f}: the model overfits. {DEFAULT_MONITOR} was highest in epoch "
                f"{best['epoch']:.0f} ({best['mean_r1']:.2f}). Use a smaller model, augmentation=drop, "
                "more dropout or training.early_stopping_patience",
                step,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the verdicts and the curves as plain values."""
        self._read_losses()
        return {
            "verdicts": [list(verdict) for verdict in self.verdicts],
            "collapsed_checks": self._collapsed_checks,
            "train_losses": list(self._train_losses),
            "history": [dict(row) for row in self._history],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.verdicts = [Verdict(*verdict) for verdict in state_dict["verdicts"]]
        self._collapsed_checks = state_dict["collapsed_checks"]
        self._train_losses = list(state_dict["train_losses"])
        self._history = [dict(row) for row in state_dict["history"]]

    def _add_verdict(self, code: str, message: str, step: int) -> None:
        if any(verdict.code == code for verdict in self.verdicts):
            return
        verdict = Verdict(code, message, step)
        self.verdicts.append(verdict)
        self._report(verdict)
