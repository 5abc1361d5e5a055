"""What several seeds say together: mean, standard deviation, and the interval of the mean."""

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from tangka_match.metrics.summary import RANK_STATISTICS, RECALLS


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
    if name == "mean_r1" or name in RECALLS:
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
