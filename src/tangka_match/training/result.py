"""Result of a finished run, and how it is printed."""

from dataclasses import dataclass

import rich

from tangka_match.records.run_folder import RunFolder
from tangka_match.retrieval.tables import recall_table
from tangka_match.training.callbacks.guard import Verdict
from tangka_match.training.distributed import rank_zero_only


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
        pruned: Whether a study stopped the run early because other trials were better.
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
    pruned: bool


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
    folder = result.folder
    if result.verdicts:  # each was logged in full when it was found
        found = ", ".join(f"{verdict.code} (step {verdict.step:,})" for verdict in result.verdicts)
        console.print(f"guard        {found}; explained above and in result.json", highlight=False, soft_wrap=True)
    console.print(f"run folder   {folder.path}", highlight=False, soft_wrap=True)
    console.print(f"curves       {folder.path / 'curves.png'}", highlight=False, soft_wrap=True)
    console.print(f"checkpoints  {folder.checkpoints}", highlight=False, soft_wrap=True)
