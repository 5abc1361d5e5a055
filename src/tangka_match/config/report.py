"""From a composed config to a written page of runs."""

import time
from pathlib import Path
from typing import Annotated

import rich
from omegaconf import DictConfig
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import Progress

from tangka_match.analysis.curves import Curve, read_curves
from tangka_match.analysis.report.page import check_out, write_report
from tangka_match.analysis.report.payload import Report, Verdict, compare_with_best
from tangka_match.analysis.runs.selection import Recipe, fold_seeds
from tangka_match.config.command_settings import check_settings
from tangka_match.errors import count
from tangka_match.records.run_files import RunFiles, find_run_folders
from tangka_match.records.run_record import RunRecord, damage, read_records


class ReportSettings(BaseModel):
    """Settings of a report; ``conf/report.yaml`` says what each one means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runs: Path
    out: Path
    comparisons: Annotated[int, Field(ge=0)]
    resamples: Annotated[int, Field(ge=1000)]


def report(config: DictConfig) -> None:
    """Read the runs, compare the best, and write the page.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    settings = check_settings(config, ReportSettings)
    check_out(settings.out)
    folders = find_run_folders(settings.runs)
    curves: dict[Path, dict[str, Curve]] = {}

    def keep(files: RunFiles) -> None:
        curves[files.path] = read_curves(files.events, len(folders))

    recipes = fold_seeds(read_records(folders, keep))
    verdicts = _compare(recipes, settings)
    write_report(Report(settings.runs.absolute(), recipes, curves, verdicts, time.time()), settings.out)
    _print([run for recipe in recipes for run in recipe.runs], recipes, settings.out)


def _compare(recipes: list[Recipe], settings: ReportSettings) -> list[Verdict]:
    console = rich.get_console()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("comparing with the best", total=None)
        return compare_with_best(
            recipes, settings.comparisons, settings.resamples, advance=lambda: progress.advance(task)
        )


def _print(runs: list[RunRecord], recipes: list[Recipe], out: Path) -> None:
    console = rich.get_console()
    told = [f"{count(len(runs), 'run')}, {count(len(recipes), 'recipe')}", *damage(runs)]
    console.print("; ".join(told), highlight=False)
    console.print(f"written to   {out}", highlight=False, soft_wrap=True)
