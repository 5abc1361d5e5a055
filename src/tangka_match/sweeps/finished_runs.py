"""Runs of a finished sweep, for the commands that take a sweep in place of a list of runs."""

import logging
from pathlib import Path

from tangka_match.errors import ConfigError
from tangka_match.sweeps.folder import SweepFolder

logger = logging.getLogger(__name__)


def sweep_runs(setting: str, name: str, runs: Path) -> list[Path]:
    """Return the run folders of a finished sweep; empty if ``name`` is not a sweep.

    Args:
        setting: Name of the setting that named the sweep, for messages.
        name: Id of the sweep below ``runs``, or its folder.
        runs: Folder of the records of all runs.

    Raises:
        ConfigError: If a job of the sweep has not finished.
    """
    places = [Path(name)] if Path(name).name != name else [Path(name), runs / "sweeps" / name]
    found = next((place.resolve() for place in places if (place / "manifest.jsonl").is_file()), None)
    if found is None:
        return []
    content = SweepFolder(found).manifest.read()
    for damaged in content.damage():
        logger.warning(damaged)
    jobs = content.jobs
    unfinished = [number for number, job in sorted(jobs.items()) if job.status != "finished"]
    if unfinished or not jobs:
        what = f"job {unfinished[0]} is {jobs[unfinished[0]].status}" if unfinished else "it has no jobs"
        raise ConfigError(
            f"{setting}={name}: this sweep has not finished ({what}); repeat its command, or list its runs"
        )
    return [found.parent.parent / run for _, job in sorted(jobs.items()) for run in (job.end or {}).get("runs", [])]
