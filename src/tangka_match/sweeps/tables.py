"""Tables that a sweep prints at its end, and the statistics over seeds that they show."""

import math
import statistics
from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table
from scipy import stats

from tangka_match.analysis.runs.terminal import short_ids
from tangka_match.metric_names import PRIMARY_METRIC, RANK_STATISTICS, RECALLS
from tangka_match.sweeps.manifest import COMPLETED, JobRecord
from tangka_match.sweeps.settings import direction_of

SEED_METRICS = (*RECALLS, PRIMARY_METRIC, "rsum")


def mean_and_std(runs: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Compute mean and sample standard deviation of the metrics that all runs have.

    Args:
        runs: Metrics by name, one mapping per seed.

    Returns:
        Means, and standard deviations (empty for a single run).

    >>> mean_and_std([{"mean_r1": 36.0}, {"mean_r1": 38.0}, {"mean_r1": 40.0}])
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
    """Compute the 95 % interval of a mean over seeds by Student's t distribution.

    It describes the spread over seeds, for normally distributed results, and not the uncertainty over queries.

    Args:
        mean: Mean over the seeds.
        std: Sample standard deviation over the seeds.
        count: Number of seeds, at least 2.
        possible: Range of the metric, to which the interval is clipped.

    >>> [round(end, 2) for end in interval_of_mean(38.0, 2.0, 3)]
    [33.03, 42.97]
    """
    half = float(stats.t.ppf(0.975, count - 1)) * std / math.sqrt(count)
    return max(possible[0], mean - half), min(possible[1], mean + half)


def possible_range(name: str) -> tuple[float, float]:
    """Return the range of a metric that runs report.

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
    """Compute the 95 % interval of each mean, clipped to the range of the metric.

    Args:
        means: Means by name of the metric.
        std: Sample standard deviations by name.
        count: Number of seeds, at least 2.

    >>> intervals_of_means({"mean_r1": 2.0, "rsum": 30.0}, {"mean_r1": 1.0, "rsum": 0.0}, 2)
    {'mean_r1': (0.0, 10.984...), 'rsum': (30.0, 30.0)}
    """
    return {name: interval_of_mean(means[name], std[name], count, possible_range(name)) for name in std}


def jobs_table(jobs: Sequence[JobRecord], *, title: str, columns: Sequence[str], best: set[int]) -> Table:
    """Make a table with one row per job.

    Args:
        jobs: Jobs in the order of the rows.
        title: Title of the table.
        columns: Metrics to show.
        best: Numbers of the jobs to highlight.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("job", justify="right")
    table.add_column("settings")
    table.add_column("state")
    for name in columns:
        table.add_column(name, justify="right")
    table.add_column("run", no_wrap=True)
    differing = differing_overrides(jobs)
    ids = short_ids([run for job in jobs for run in (job.end or {}).get("runs", [])])
    for job in jobs:
        style = "bold" if job.number in best else None
        values = [_cell(job, name) for name in columns]
        runs = (job.end or {}).get("runs", [])
        state = "finished before" if (job.end or {}).get("reused") else job.status
        settings = escape(" ".join(differing[job.number]))
        table.add_row(str(job.number), settings, state, *values, "\n".join(ids[run] for run in runs), style=style)
    return table


def describe_failures(jobs: Sequence[JobRecord]) -> list[str]:
    """Return one line per unfinished job: number, settings, reason."""
    return [
        f"job {job.number} ({' '.join(job.overrides)}): {(job.end or {}).get('error', 'reason unknown')}"
        for job in jobs
        if job.status not in COMPLETED
    ]


def best_jobs(jobs: Sequence[JobRecord], objective: str) -> set[int]:
    """Return the number of the finished job with the best value of a metric; empty if none has it."""
    candidates = [j for j in jobs if j.status == "finished" and j.end and objective in j.end.get("metrics", {})]
    if not candidates:
        return set()
    choose = max if direction_of(objective) == "maximize" else min
    return {choose(candidates, key=lambda job: job.end["metrics"][objective]).number}  # type: ignore[index]


def seeds_table(metrics: dict[str, float], std: dict[str, float], count: int, *, title: str) -> Table:
    """Make a table of mean, standard deviation and 95 % interval of the mean, with one row per metric."""
    table = Table(
        title=title,
        title_justify="left",
        caption=f"interval of the mean over {count} seeds, Student's t, clipped to the range of the metric",
    )
    intervals = intervals_of_means(metrics, std, count)
    for name in ("metric", "mean", "± std", "95 % interval"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for name in SEED_METRICS:
        low, high = intervals[name]
        row = (name, f"{metrics[name]:.2f}", f"{std[name]:.2f}", f"{low:.2f} – {high:.2f}")
        table.add_row(*row, style="bold" if name == PRIMARY_METRIC else None)
    return table


def differing_overrides(jobs: Sequence[JobRecord]) -> dict[int, list[str]]:
    """Return the searched settings of each job, and its overrides that not all jobs share, with shortened numbers."""
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    return {
        job.number: [short_override(o) for o in job.overrides if o not in shared or o.partition("=")[0] in job.params]
        for job in jobs
    }


def short_override(override: str) -> str:
    """Round the value of an override to four digits if it is a decimal number.

    >>> short_override("optimizer.lr=0.0012520312345"), short_override("loss=triplet"), short_override("seed=20261")
    ('optimizer.lr=0.001252', 'loss=triplet', 'seed=20261')
    """
    name, _, text = override.partition("=")
    try:
        return f"{name}={float(text):.4g}" if "." in text else override
    except ValueError:
        return override


def _cell(job: JobRecord, name: str) -> str:
    end = job.end or {}
    value = end.get("metrics", {}).get(name)
    if value is None:
        return "–"
    spread = end.get("std", {}).get(name)
    text = f"{value:,.0f}" if name == "parameters" else f"{value:.4g}" if name == "step_seconds" else f"{value:.2f}"
    return text if spread is None else f"{text} ± {spread:.2f}"
