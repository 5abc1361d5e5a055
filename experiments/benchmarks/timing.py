"""Interleaved timing of competing functions, so that other load on the machine affects all of them alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Timing:
    """Times of several rounds of one function, in seconds."""

    seconds: Sequence[float]

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return median(self.seconds)


def take_turns(
    functions: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: bool = True, children: bool = False
) -> dict[str, Timing]:
    """Time each function once per round.

    With one thread the CPU time of the process is measured, which other load on the machine hardly changes; otherwise
    the wall-clock time.

    Args:
        functions: Functions to time, by name.
        rounds: Number of rounds.
        warm_up: Whether to run one uncounted round first.
        children: Whether child processes do the work, so that wall-clock time is needed.
    """
    clock = time.process_time if torch.get_num_threads() == 1 and not children else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(-1 if warm_up else 0, rounds):
        for name, function in functions.items():
            start = clock()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number >= 0:
                seconds[name].append(clock() - start)
    return {name: Timing(found) for name, found in seconds.items()}


def ratios(slow: Timing, fast: Timing, work: float = 1.0) -> list[float]:
    """Compute the speed-up per round.

    Args:
        slow: Times of the slow function.
        fast: Times of the fast function.
        work: Amount of work of the fast function, in units of that of the slow one.
    """
    return [work * a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)]
