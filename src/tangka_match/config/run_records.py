"""From a folder to the records of its runs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import rich
from rich.progress import track

from tangka_match.analysis.diagnosis.finding import count
from tangka_match.analysis.runs.record import RunRecord, make_record
from tangka_match.errors import ConfigError
from tangka_match.training.records.run_files import RunFiles, find_run_folders, read_run_files


def find_runs(root: Path) -> list[Path]:
    """The run folders at or below ``root``.

    Raises:
        ConfigError: If there is no such folder, or no run in it.
    """
    if not root.is_dir():
        raise ConfigError(f"runs={root}: no such folder; give the one that paths.runs named when the runs were made")
    found = find_run_folders(root.absolute())
    if not found:
        raise ConfigError(
            f"runs={root}: no run here (no folder with a ledger.jsonl at any depth); give the folder that paths.runs "
            "named, or make a run with python -m tangka_match.train"
        )
    return found


def read_runs(folders: list[Path], keep: Callable[[RunFiles], None] = lambda files: None) -> list[RunRecord]:
    """Read runs, with a progress bar.

    Args:
        folders: Of the runs.
        keep: Takes what of a run's files shall outlast its record; events are let go after it.
    """
    records = []
    console = rich.get_console()
    for folder in track(folders, "reading runs", console=console, transient=True, disable=not console.is_terminal):
        files = read_run_files(folder)
        keep(files)
        records.append(
            make_record(
                folder,
                files.events,
                files.config,
                files.result,
                files.environment,
                held=files.held,
                has_ranks=files.has_ranks,
                skipped=files.skipped,
                problems=files.problems,
            )
        )
    return records


def damage(runs: Sequence[RunRecord]) -> list[str]:
    """What of the runs could not be read, in words; empty where all could."""
    lines, files = sum(run.skipped for run in runs), sum(len(run.problems) for run in runs)
    told = [f"{count(lines, 'unreadable ledger line')} skipped"] if lines else []
    return told + ([count(files, "unreadable file")] if files else [])
