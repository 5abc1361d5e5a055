"""Which run is meant by an id, the beginning of one, or ``last``."""

from collections.abc import Sequence
from pathlib import Path

from tangka_match.errors import ConfigError

LAST = "last"
"""Stands for the run that was started last, wherever a run id is asked for."""


def choose_run(known: Sequence[str], run_id: str, setting: str, runs: Path) -> str:
    """The one id that is meant.

    Args:
        known: Ids in the order of time.
        run_id: An id, an unambiguous beginning of one, or ``last``.
        setting: Where it was given, for messages.
        runs: Where the runs lie, for messages.

    Raises:
        ConfigError: If there is no such run, or several fit; the message lists the newest.
    """
    found = (
        list(known[-1:])
        if run_id == LAST
        else [k for k in known if k == run_id] or [k for k in known if k.startswith(run_id)]
    )
    if len(found) == 1:
        return found[0]
    newest = "\n  ".join(reversed(known[-5:])) or "(none)"
    what = f"{len(found)} runs fit" if found else "no run fits"
    raise ConfigError(
        f"{setting}={run_id}: {what} under {runs.resolve()}; the newest are:\n  {newest}\n"
        "Give a whole id, or paths.runs=<folder>"
    )
