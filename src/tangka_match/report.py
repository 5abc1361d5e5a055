"""Compare the runs of a folder on one HTML page.

python -m tangka_match.report runs=FOLDER out=report.html [tables=[comparison.md,comparison.tex]]
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from omegaconf import DictConfig
from pydantic import Field

from tangka_match.cli import command, read_settings, say
from tangka_match.errors import count
from tangka_match.settings import OneOrMore, Settings

if TYPE_CHECKING:
    from tangka_match.analysis.curves import Curve
    from tangka_match.analysis.report.verdicts import Verdict
    from tangka_match.analysis.runs.selection import Recipe
    from tangka_match.records.run_files import RunFiles


class ReportSettings(Settings):
    """Settings of a report; see ``conf/report.yaml``."""

    runs: Path
    out: Path
    tables: Annotated[list[Path], OneOrMore] | None
    comparisons: Annotated[int, Field(ge=0)]
    resamples: Annotated[int, Field(ge=1000)]


def report(config: DictConfig) -> None:
    """Read the runs, compare the best recipes, and write the page.

    Raises:
        TangkaMatchError: On invalid settings, or if the folder holds no run.
    """
    from tangka_match.analysis.curves import thin_curves
    from tangka_match.analysis.report.page import check_out, write_report
    from tangka_match.analysis.report.payload import Report
    from tangka_match.analysis.runs.selection import fold_seeds
    from tangka_match.records.run_files import find_run_folders
    from tangka_match.records.run_record import damage, read_records

    settings = read_settings(config, ReportSettings)
    check_out(settings.out)
    tables = settings.tables or []
    if tables:
        from tangka_match.analysis.paper_table import check_table_paths

        check_table_paths(tables)
    folders = find_run_folders(settings.runs)
    curves: dict[Path, dict[str, Curve]] = {}

    def keep_curves(files: "RunFiles") -> None:
        curves[files.path] = thin_curves(files.curves, len(folders))

    recipes = fold_seeds(read_records(folders, keep_curves))
    verdicts = _compare_with_best(recipes, settings)
    write_report(Report(settings.runs.absolute(), recipes, curves, verdicts, time.time()), settings.out)
    if tables:
        from tangka_match.analysis.paper_table import recipe_table, write_tables

        write_tables(recipe_table(recipes, verdicts), tables)
    runs = [run for recipe in recipes for run in recipe.runs]
    say("; ".join([f"{count(len(runs), 'run')}, {count(len(recipes), 'recipe')}", *damage(runs)]))
    for path in (settings.out, *tables):
        say(f"written to   {path}")


def _compare_with_best(recipes: list["Recipe"], settings: ReportSettings) -> list["Verdict"]:
    if not any(run.has_ranks for recipe in recipes for run in recipe.runs):
        return []
    import rich
    from rich.progress import Progress

    from tangka_match.analysis.report.verdicts import compare_with_best

    console = rich.get_console()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("comparing with the best", total=None)
        return compare_with_best(
            recipes, settings.comparisons, settings.resamples, advance=lambda: progress.advance(task)
        )


main = command("report", report)

if __name__ == "__main__":
    main()
