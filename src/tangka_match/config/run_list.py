"""From a composed config to a list of runs in the terminal, or one run in full."""

from pathlib import Path
from typing import Annotated, Any, Literal

import rich
from omegaconf import DictConfig
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tangka_match.analysis.runs.selection import select_runs, sort_runs
from tangka_match.analysis.runs.terminal import print_run, run_table
from tangka_match.config.command_settings import check_settings
from tangka_match.errors import count
from tangka_match.records.run_files import choose_run, find_run_folders
from tangka_match.records.run_record import damage, read_records


def _as_text(value: Any) -> Any:
    """A run id or a tag that is all digits arrives as a number."""
    return value if value is None else str(value)


Name = Annotated[str | None, BeforeValidator(_as_text)]


class RunListSettings(BaseModel):
    """Settings of a list of runs; ``conf/runs.yaml`` says what each one means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runs: Path
    show: Name
    name: Name
    tag: Name
    of_sweep: Name
    status: Literal["finished", "running", "stopped", "failed", "killed", "pruned"] | None
    sort: str
    limit: Annotated[int, Field(ge=1)] | None


def list_runs(config: DictConfig) -> None:
    """Print what ``config`` asks for.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    settings = check_settings(config, RunListSettings)
    console = rich.get_console()
    folders = find_run_folders(settings.runs)
    if settings.show is not None:
        by_id = {folder.name: folder for folder in folders}
        print_run(console, *read_records([by_id[choose_run(list(by_id), settings.show, "show", settings.runs)]]))
        return
    everything = read_records(folders)
    chosen = select_runs(
        everything, name=settings.name, tag=settings.tag, sweep=settings.of_sweep, status=settings.status
    )
    ordered = sort_runs(chosen, settings.sort)
    shown = ordered if settings.limit is None else ordered[: settings.limit]
    if shown:
        console.print(run_table(shown))
    fitting = "" if len(chosen) == len(everything) else f", {len(chosen):,} of them fit"
    told = [f"{count(len(everything), 'run')}{fitting}, {len(shown):,} shown", *damage(everything)]
    console.print("; ".join(told), highlight=False)
