"""What several seeds say together: mean, standard deviation, and the interval of the mean."""

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np


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


def interval_of_mean(mean: float, std: float, count: int) -> tuple[float, float]:
    """95 % interval of the mean over seeds, for runs that scatter normally; it says nothing about other queries.

    Args:
        mean: Over the seeds.
        std: Sample standard deviation.
        count: Seeds, 2 or more.

    >>> [round(end, 2) for end in interval_of_mean(38.0, 2.0, 3)]
    [33.03, 42.97]
    """
    half = student_t(count - 1) * std / math.sqrt(count)
    return mean - half, mean + half
