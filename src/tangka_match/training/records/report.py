"""What a finished run prints: the recalls with their intervals, the guard's verdicts, and where everything is."""

import rich
from rich.text import Text

from tangka_match.retrieval.recall_table import recall_table
from tangka_match.training.lightning_facts import rank_zero_only
from tangka_match.training.run_result import RunResult


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
