"""What a finished run prints: the recalls with their intervals, the guard's verdicts, and where everything is."""

import rich
from rich.table import Table

from tangka_match.training.lightning_facts import rank_zero_only
from tangka_match.training.runner import RunResult

RECALLS = ("r1", "r5", "r10")


def recall_table(result: RunResult) -> Table:
    """The six recalls, mean R@1 and rsum with their 95 % intervals, and the ranks."""
    table = Table(
        title=f"{result.folder.run_id}: best.ckpt on validation, {result.num_images:,} images, "
        f"{result.num_captions:,} captions",
        caption=f"epoch {result.best_epoch}, step {result.best_step:,} of {result.total_steps:,}; "
        "below each number its 95 % bootstrap interval over images",
    )
    for heading in ("", "R@1 %", "R@5 %", "R@10 %", "median rank", "mean rank"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for direction, name in (("i2t", "image→text"), ("t2i", "text→image")):
        keys = [f"{direction}_{key}" for key in (*RECALLS, "median_rank", "mean_rank")]
        table.add_row(name, *(_with_interval(result, key) for key in keys))
    table.add_section()
    table.add_row("mean R@1", _with_interval(result, "mean_r1"))
    table.add_row("rsum", _with_interval(result, "rsum"))
    return table


@rank_zero_only
def print_result(result: RunResult) -> None:
    """Print the table, the verdicts and the paths to the terminal; in a distributed run the first process does."""
    console = rich.get_console()
    console.print(recall_table(result))
    for verdict in result.verdicts:
        console.print(f"[bold]guard, {verdict.code}[/bold] (step {verdict.step:,}): ", end="")
        console.print(verdict.message, markup=False, highlight=False)
    folder = result.folder
    console.print(f"run folder   {folder.path}", highlight=False, soft_wrap=True)
    console.print(f"curves       {folder.path / 'curves.png'}", highlight=False, soft_wrap=True)
    console.print(f"checkpoints  {folder.checkpoints}", highlight=False, soft_wrap=True)


def _with_interval(result: RunResult, key: str) -> str:
    low, high = result.intervals[key]
    digits = 1 if "rank" in key or key == "rsum" else 2
    return f"{result.metrics[key]:.{digits}f}\n[dim]{low:.1f}–{high:.1f}[/dim]"
