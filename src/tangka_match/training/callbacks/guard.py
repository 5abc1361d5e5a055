"""A guard that notices a run that cannot end well, and says so in plain words, with what to change."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytorch_lightning as pl

from tangka_match.errors import TrainingError
from tangka_match.losses import CurriculumLoss, TripletMarginLoss
from tangka_match.training.distributed import ends_step, is_logged_step
from tangka_match.types import FittedMatcher

# Spread of a batch's scores below which they count as equal: rounding alone gives about 1e-7, a model that
# tells pairs apart gives more than 0.05.
EQUAL_SCORES = 2e-3
COLLAPSED_CHECKS = 3


class Verdict(NamedTuple):
    """One finding of the guard: a short code for tools, a message for people, and the step it was found at."""

    code: str
    message: str
    step: int


def steps_needed(loss: object) -> tuple[int, str]:
    """Optimizer steps that a loss may need before recall moves, and where the figure comes from."""
    if isinstance(loss, TripletMarginLoss) and loss.hard_negatives == 1.0:
        return (
            7_900,
            "SGRAF with hardest negatives left its plateau after 7,900 to 14,700 steps on Flickr30K (SGRAF #13)",
        )
    return 1_100, "a public VSE-infinity log still gained 50 points of rsum between steps 1,133 and 2,266"


def way_out(loss: object) -> str:
    """What to change when all scores have become equal: the loss's own settings first, where it has such."""
    if isinstance(loss, TripletMarginLoss) and loss.hard_negatives > 0:
        return (
            "Start from all negatives (loss.hard_negatives=0.0 or loss=curriculum), lower optimizer.lr, or lengthen "
            "scheduler.warmup_steps; SGRAF's published loss can stay here for thousands of steps and still recover"
        )
    rate = "lower optimizer.lr, or lengthen scheduler.warmup_steps"
    if isinstance(loss, CurriculumLoss):
        return f"Reach the hardest negatives later or not at all (loss.until, loss.hard_negatives), {rate}"
    return rate[0].upper() + rate[1:]


class TrainingGuard(pl.Callback):
    """Watches for collapse, a non-finite loss, a schedule too short for its loss, and overfitting.

    Args:
        report: Called with each verdict as it is found.
    """

    def __init__(self, report: Callable[[Verdict], None]) -> None:
        self.verdicts: list[Verdict] = []
        self._report = report
        self._collapsed_checks = 0
        self._train_losses: list[float] = []
        self._history: list[dict[str, float]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the run's length with what its loss needs; a model that was fitted in closed form needs no steps."""
        if isinstance(pl_module.matcher, FittedMatcher):
            return
        steps, epoch = int(trainer.estimated_stepping_batches), int(trainer.num_training_batches)
        needed, source = steps_needed(pl_module.loss)
        if steps < needed:
            bounds = {"trainer.max_steps": (trainer.max_steps, needed)} if trainer.max_steps > 0 else {}
            bounds["trainer.max_epochs"] = (trainer.max_epochs or 0, math.ceil(needed / epoch))
            raised = [f"{name} to {enough:,}" for name, (now, enough) in bounds.items() if now < enough]
            self._say(
                "short_schedule",
                f"this run has {steps:,} optimizer steps, and its loss may need about {needed:,}: {source}. "
                f"An epoch here is {epoch} steps, so a low recall may be a short run and not the model's limit: "
                f"raise {' and '.join(raised)}",
                trainer.global_step,
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the loss after each step, before a checkpoint is written, and at the scores when they are logged.

        Raises:
            TrainingError: If the loss is not a finite number.
        """
        loss = float(outputs["loss"])
        if not math.isfinite(loss):
            best = getattr(trainer.checkpoint_callback, "best_model_path", "")
            raise TrainingError(
                f"the training loss is {loss} at step {trainer.global_step:,}, and going on from a checkpoint would "
                "come to the same. Start a new run with a lower optimizer.lr, a lower trainer.gradient_clip_val, or "
                "trainer.precision=32-true" + (f"; the best weights from before are in {best}" if best else "")
            )
        self._train_losses.append(loss)
        if not (ends_step(trainer, batch_idx) and is_logged_step(trainer, trainer.global_step - 1)):
            return
        spread = float(trainer.callback_metrics["train/similarity_std"])
        # Numbers of MatchingModule's.
        value, matching = float(pl_module.collapse_value), float(pl_module.matching_loss)  # type: ignore[arg-type]
        collapsed = spread < EQUAL_SCORES and math.isclose(matching, value, rel_tol=0.05, abs_tol=EQUAL_SCORES)
        self._collapsed_checks = self._collapsed_checks + 1 if collapsed else 0
        if self._collapsed_checks == COLLAPSED_CHECKS:
            self._say(
                "collapse",
                f"all scores of a batch are equal (spread {spread:.1e}) and the loss sits at its collapse value "
                f"{value:.3f}: the model tells no pair apart. {way_out(pl_module.loss)}",
                trainer.global_step,
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the curve that the verdict on overfitting needs."""
        if trainer.state.fn != "fit":
            return
        self._history.append(
            {
                "epoch": float(trainer.current_epoch),
                "train_loss": sum(self._train_losses) / len(self._train_losses),
                "val_loss": float(trainer.callback_metrics["val/loss"]),
                "mean_r1": float(trainer.callback_metrics["val/mean_r1"]),
            }
        )
        self._train_losses = []

    def conclude(self, step: int) -> None:
        """Say whether the run has learnt its training pairs by heart.

        This is no hook: Lightning skips the hooks of a run that is resumed when all its steps are done.

        Args:
            step: Optimizer steps that the run took.
        """
        if len(self._history) < 3:
            return
        lowest = min(self._history, key=lambda row: row["val_loss"])
        last = self._history[-1]
        if last["val_loss"] > 1.1 * lowest["val_loss"] and last["train_loss"] < 0.7 * lowest["train_loss"]:
            best = max(self._history, key=lambda row: row["mean_r1"])
            self._say(
                "overfitting",
                f"since epoch {lowest['epoch']:.0f} the training loss fell from {lowest['train_loss']:.3f} to "
                f"{last['train_loss']:.3f} while the validation loss rose from {lowest['val_loss']:.3f} to "
                f"{last['val_loss']:.3f}: the model learns its pairs by heart. best.ckpt is from epoch "
                f"{best['epoch']:.0f} (val/mean_r1 {best['mean_r1']:.2f}). Use a smaller model, augmentation=drop, "
                "more dropout or training.early_stopping_patience",
                step,
            )

    def state_dict(self) -> dict[str, Any]:
        """Plain values, so that a resumed run reaches the same verdicts."""
        return {
            "verdicts": [list(verdict) for verdict in self.verdicts],
            "collapsed_checks": self._collapsed_checks,
            "train_losses": list(self._train_losses),
            "history": [dict(row) for row in self._history],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
        self.verdicts = [Verdict(*verdict) for verdict in state_dict["verdicts"]]
        self._collapsed_checks = state_dict["collapsed_checks"]
        self._train_losses = list(state_dict["train_losses"])
        self._history = [dict(row) for row in state_dict["history"]]

    def _say(self, code: str, message: str, step: int) -> None:
        if any(verdict.code == code for verdict in self.verdicts):
            return
        verdict = Verdict(code, message, step)
        self.verdicts.append(verdict)
        self._report(verdict)
