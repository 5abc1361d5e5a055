"""What a sweep prints at its end: a row a job, the best one marked, failures with their reason."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from tangka_match.analysis.runs.terminal import short_ids
from tangka_match.sweeps.manifest import JobRecord
from tangka_match.sweeps.objectives import MAIN, direction_of
from tangka_match.sweeps.seeds import intervals_of_means

SEED_METRICS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "mean_r1", "rsum")


def jobs_table(jobs: Sequence[JobRecord], *, title: str, objectives: Sequence[str], best: set[int]) -> Table:
    """A row a job.

    Args:
        jobs: In the order of the rows.
        title: Above the table.
        objectives: Figures to show; ``mean_r1`` first in a grid.
        best: Numbers of the jobs to mark.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("job", justify="right")
    table.add_column("settings")
    table.add_column("state")
    for name in objectives:
        table.add_column(name, justify="right")
    table.add_column("run", no_wrap=True)
    differing = _differing(jobs)
    ids = short_ids([run for job in jobs for run in (job.end or {}).get("runs", [])])
    for job in jobs:
        style = "bold" if job.number in best else None
        values = [_value(job, name) for name in objectives]
        runs = (job.end or {}).get("runs", [])
        state = "finished before" if (job.end or {}).get("reused") else job.status
        settings = escape(" ".join(differing[job.number]))
        table.add_row(str(job.number), settings, state, *values, "\n".join(ids[run] for run in runs), style=style)
    return table


def failures(jobs: Sequence[JobRecord]) -> list[str]:
    """A line a failed job: number, settings, reason."""
    return [
        f"job {job.number} ({' '.join(job.overrides)}): {(job.end or {}).get('error', 'no reason known')}"
        for job in jobs
        if job.status not in ("finished", "pruned")
    ]


def best_jobs(jobs: Sequence[JobRecord], objective: str) -> set[int]:
    """Number of the finished job with the best figure; empty when there is none."""
    there = [j for j in jobs if j.status == "finished" and j.end and objective in j.end.get("metrics", {})]
    if not there:
        return set()
    choose = max if direction_of(objective) == "maximize" else min
    return {choose(there, key=lambda job: job.end["metrics"][objective]).number}  # type: ignore[index]


def seeds_table(metrics: dict[str, float], std: dict[str, float], count: int, *, title: str) -> Table:
    """Mean, standard deviation and 95 % interval of the mean, a row a metric."""
    table = Table(
        title=title,
        title_justify="left",
        caption=f"interval of the mean over {count} seeds, Student's t, within what is possible",
    )
    intervals = intervals_of_means(metrics, std, count)
    for name in ("metric", "mean", "± std", "95 % interval"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for name in SEED_METRICS:
        low, high = intervals[name]
        row = (name, f"{metrics[name]:.2f}", f"{std[name]:.2f}", f"{low:.2f} – {high:.2f}")
        table.add_row(*row, style="bold" if name == MAIN else None)
    return table


def _differing(jobs: Sequence[JobRecord]) -> dict[int, list[str]]:
    """The overrides that not all jobs share, numbers in few digits."""
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    return {job.number: [shortened(o) for o in job.overrides if o not in shared] for job in jobs}


def shortened(override: str) -> str:
    """An override with its number in four digits, if it is one.

    >>> shortened("optimizer.lr=0.0012520312345"), shortened("loss=triplet"), shortened("seed=20261")
    ('optimizer.lr=0.001252', 'loss=triplet', 'seed=20261')
    """
    name, _, text = override.partition("=")
    try:
        return f"{name}={float(text):.4g}" if "." in text else override
    except ValueError:
        return override


def _value(job: JobRecord, name: str) -> str:
    end = job.end or {}
    value = end.get("metrics", {}).get(name)
    if value is None:
        return "–"
    spread = end.get("std", {}).get(name)
    text = f"{value:,.0f}" if name == "parameters" else f"{value:.4g}" if name == "step_seconds" else f"{value:.2f}"
    return text if spread is None else f"{text} ± {spread:.2f}"
