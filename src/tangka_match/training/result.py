"""Result of a finished run, and how it is printed."""

from dataclasses import dataclass
from typing import Any

import rich

from tangka_match.records.run_folder import RunFolder
from tangka_match.records.working_time import WorkingTime
from tangka_match.retrieval.tables import recall_table
from tangka_match.training.callbacks.guard import Verdict
from tangka_match.training.distributed import rank_zero_only


@dataclass(frozen=True)
class HeldOutResult:
    """Result of ``best.ckpt`` on the held-out fold of a cross-validation, which selected nothing.

    Args:
        folds: Number of folds.
        fold: Index of the held-out fold, from 0.
        metrics: Metrics in float32: recalls in percent, ranks from 1.
        intervals: 95 % confidence intervals of the metrics.
        num_images: Images of the fold.
        num_captions: Captions of the fold.
    """

    folds: int
    fold: int
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    num_images: int
    num_captions: int

    def record(self) -> dict[str, Any]:
        """Return the entry ``held_out`` of ``result.json``, with the names that the file uses for validation."""
        return {
            "folds": self.folds,
            "fold": self.fold,
            "metrics": self.metrics,
            "ci95": {name: list(interval) for name, interval in self.intervals.items()},
            "num_images": self.num_images,
            "num_captions": self.num_captions,
        }


@dataclass(frozen=True)
class RunResult:
    """Result of a finished run.

    Args:
        folder: Run folder.
        metrics: Metrics of ``best.ckpt`` on the validation split, in float32: recalls in percent, ranks from 1.
        intervals: 95 % confidence intervals of the metrics.
        num_images: Images of the validation split.
        num_captions: Captions of the validation split.
        best_epoch: Epoch of ``best.ckpt``, from 0.
        best_step: Optimizer steps done in ``best.ckpt``.
        total_steps: Optimizer steps of the run.
        verdicts: Verdicts of the guard.
        num_parameters: Parameters of the model.
        working_time: Working time by phase.
        pruned: Whether a study stopped the run early because other trials were better.
        held_out: Result on the held-out fold; ``None`` without cross-validation.
    """

    folder: RunFolder
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    num_images: int
    num_captions: int
    best_epoch: int
    best_step: int
    total_steps: int
    verdicts: list[Verdict]
    num_parameters: int
    working_time: WorkingTime
    pruned: bool
    held_out: HeldOutResult | None = None


@rank_zero_only
def print_result(result: RunResult) -> None:
    """Print metrics, verdicts and paths to the terminal; only rank 0 prints."""
    console = rich.get_console()
    console.print(
        recall_table(
            result.metrics,
            result.intervals,
            title=f"{result.folder.run_id}: best.ckpt on validation, {result.num_images:,} images, "
            f"{result.num_captions:,} captions",
            caption=f"epoch {result.best_epoch}, step {result.best_step:,} of {result.total_steps:,}",
        )
    )
    if (held_out := result.held_out) is not None:
        console.print(
            recall_table(
                held_out.metrics,
                held_out.intervals,
                title=f"best.ckpt on the held-out fold {held_out.fold} of {held_out.folds}, "
                f"{held_out.num_images:,} images, {held_out.num_captions:,} captions",
                caption="the fold selected neither the epoch nor a setting",
            )
        )
    folder = result.folder
    if where := result.working_time.describe():
        console.print(f"time         {where}", highlight=False, soft_wrap=True)
    if result.verdicts:  # each was logged in full when it was found
        found = ", ".join(f"{verdict.code} (step {verdict.step:,})" for verdict in result.verdicts)
        console.print(f"guard        {found}; explained above and in result.json", highlight=False, soft_wrap=True)
    console.print(f"run folder   {folder.path}", highlight=False, soft_wrap=True)
    console.print(f"curves       {folder.path / 'curves.png'}", highlight=False, soft_wrap=True)
    console.print(f"checkpoints  {folder.checkpoints}", highlight=False, soft_wrap=True)
