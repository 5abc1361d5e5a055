"""What a sweep prints at its end: one row per job, the best one marked, and what several seeds say together."""

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from rich.markup import escape
from rich.table import Table

from tangka_match.analysis.runs.terminal import short_ids
from tangka_match.metric_names import PRIMARY_METRIC, RANK_STATISTICS, RECALLS
from tangka_match.sweeps.manifest import JobRecord
from tangka_match.sweeps.settings import MAIN, direction_of


def student_t(degrees_of_freedom: int, level: float = 0.95) -> float:
    """How many standard errors the two-sided interval of a mean reaches, by Student's distribution.

    Args:
        degrees_of_freedom: 1 or more; of n values n - 1.
        level: Of the interval, in (0, 1).

    >>> [round(student_t(n), 3) for n in (1, 2, 4)]
    [12.706, 4.303, 2.776]
    """
    # With t = sqrt(n) tan(a), the density is proportional to cos(a)^(n - 1) on (-pi/2, pi/2).
    angles = np.linspace(0, np.pi / 2, 200_001)
    density = np.cos(angles) ** (degrees_of_freedom - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(np.tan(np.interp(level, mass / mass[-1], angles)) * math.sqrt(degrees_of_freedom))


def mean_and_spread(runs: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Means and sample standard deviations over runs, of the figures that all of them have.

    Args:
        runs: Figures by name, one mapping a seed.

    Returns:
        Means; and standard deviations, empty for a single run.

    >>> mean_and_spread([{"mean_r1": 36.0}, {"mean_r1": 38.0}, {"mean_r1": 40.0}])
    ({'mean_r1': 38.0}, {'mean_r1': 2.0})
    """
    names = [name for name in runs[0] if all(name in run for run in runs)]
    means = {name: statistics.fmean(run[name] for run in runs) for name in names}
    if len(runs) == 1:
        return means, {}
    return means, {name: statistics.stdev(run[name] for run in runs) for name in names}


def interval_of_mean(
    mean: float, std: float, count: int, possible: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float]:
    """95 % interval of the mean over seeds, for runs that scatter normally; it says nothing about other queries.

    Args:
        mean: Over the seeds.
        std: Sample standard deviation.
        count: Seeds, 2 or more.
        possible: Lowest and highest value that there is; the interval of two seeds often reaches beyond.

    >>> [round(end, 2) for end in interval_of_mean(38.0, 2.0, 3)]
    [33.03, 42.97]
    """
    half = student_t(count - 1) * std / math.sqrt(count)
    return max(possible[0], mean - half), min(possible[1], mean + half)


def possible_range(name: str) -> tuple[float, float]:
    """Lowest and highest value of a figure that a run reports.

    >>> possible_range("t2i_r5"), possible_range("rsum"), possible_range("t2i_mean_rank"), possible_range("parameters")
    ((0.0, 100.0), (0.0, 600.0), (1.0, inf), (0.0, inf))
    """
    if name == PRIMARY_METRIC or name in RECALLS:
        return 0.0, 100.0
    if name in RANK_STATISTICS:
        return 1.0, math.inf
    return 0.0, 100.0 * len(RECALLS) if name == "rsum" else math.inf


def intervals_of_means(
    means: Mapping[str, float], std: Mapping[str, float], count: int
) -> dict[str, tuple[float, float]]:
    """`interval_of_mean` of every figure, within what is possible.

    Args:
        means: By name.
        std: Of the same names.
        count: Seeds, 2 or more.

    >>> intervals_of_means({"mean_r1": 2.0, "rsum": 30.0}, {"mean_r1": 1.0, "rsum": 0.0}, 2)
    {'mean_r1': (0.0, 10.984...), 'rsum': (30.0, 30.0)}
    """
    return {name: interval_of_mean(means[name], std[name], count, possible_range(name)) for name in std}


SEED_METRICS = (*RECALLS, PRIMARY_METRIC, "rsum")


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
