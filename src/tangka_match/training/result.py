"""What a finished run has to show, and how it is printed."""

from dataclasses import dataclass

import rich
from rich.text import Text

from tangka_match.records.run_folder import RunFolder
from tangka_match.retrieval.tables import recall_table
from tangka_match.training.callbacks.guard import Verdict
from tangka_match.training.distributed import rank_zero_only


@dataclass(frozen=True)
class RunResult:
    """What a finished run has to show.

    Args:
        folder: Of the run.
        metrics: Of ``best.ckpt`` on the validation split, in float32: recalls in percent, ranks from 1.
        intervals: 95 % intervals of the same.
        num_images: Of the validation split.
        num_captions: Of the validation split.
        best_epoch: From 0.
        best_step: Optimizer steps.
        total_steps: Optimizer steps that the run took.
        verdicts: Of the guard.
        num_parameters: Learnt numbers of the model.
        pruned: Whether a study stopped the run because it lagged behind other trials.
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
    """Print the table, the verdicts and the paths to the terminal; in a distributed run the first process does."""
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
    for verdict in result.verdicts:
        console.print(
            Text.assemble((f"guard, {verdict.code}", "bold"), f" (step {verdict.step:,}): {verdict.message}"),
            highlight=False,
        )
    folder = result.folder
    console.print(f"run folder   {folder.path}", highlight=False, soft_wrap=True)
    console.print(f"curves       {folder.path / 'curves.png'}", highlight=False, soft_wrap=True)
    console.print(f"checkpoints  {folder.checkpoints}", highlight=False, soft_wrap=True)
