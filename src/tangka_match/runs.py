"""List runs in the terminal, or show one run in full.

python -m tangka_match.runs [name=NAME] [tag=TAG] [status=STATUS] [sort=SETTING]
python -m tangka_match.runs show=RUN_ID
"""

from pathlib import Path
from typing import Annotated, Literal

from omegaconf import DictConfig
from pydantic import Field

from tangka_match.cli import command, read_settings, say
from tangka_match.errors import count
from tangka_match.settings import Settings, Text


class RunListSettings(Settings):
    """Settings of a list of runs; see ``conf/runs.yaml``."""

    runs: Path
    show: Text | None
    name: Text | None
    tag: Text | None
    of_sweep: Text | None
    status: Literal["finished", "running", "stopped", "failed", "killed", "pruned"] | None
    sort: str
    limit: Annotated[int, Field(ge=1)] | None


def list_runs(config: DictConfig) -> None:
    """Print the selected runs as a table, or one run in full.

    Raises:
        TangkaMatchError: On invalid settings, or if no run matches ``show``.
    """
    import rich

    from tangka_match.analysis.runs.selection import select_runs, sort_runs
    from tangka_match.analysis.runs.terminal import print_run, run_table
    from tangka_match.records.run_files import choose_run, find_run_folders
    from tangka_match.records.run_record import damage, read_records

    settings = read_settings(config, RunListSettings)
    console = rich.get_console()
    folders = find_run_folders(settings.runs)
    if settings.show is not None:
        by_id = {folder.name: folder for folder in folders}
        print_run(console, *read_records([by_id[choose_run(list(by_id), settings.show, "show", settings.runs)]]))
        return
    all_runs = read_records(folders)
    chosen = select_runs(
        all_runs, name=settings.name, tag=settings.tag, sweep=settings.of_sweep, status=settings.status
    )
    shown = sort_runs(chosen, settings.sort)[: settings.limit]
    if shown:
        console.print(run_table(shown))
    matching = "" if len(chosen) == len(all_runs) else f", {len(chosen):,} matching"
    notes = [f"{count(len(all_runs), 'run')}{matching}, {len(shown):,} shown", *damage(all_runs)]
    say("; ".join(notes))


main = command("runs", list_runs, disk_advice="make it readable, or set runs to another folder")

if __name__ == "__main__":
    main()
