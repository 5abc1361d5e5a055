"""Seconds of rival functions, taken in turns, so that a busy machine is busy for all of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Timing:
    """What several rounds of one function took, in seconds."""

    seconds: Sequence[float]

    @property
    def median(self) -> float:
        """The middle round."""
        return median(self.seconds)


def take_turns(
    functions: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: bool = True, children: bool = False
) -> dict[str, Timing]:
    """Time each function once a round.

    With one thread, the time is what the process had of its core, which other work on the machine hardly changes;
    otherwise it is what passed.

    Args:
        functions: What to time, by name.
        rounds: How often.
        warm_up: Whether a round goes before that is not counted.
        children: Whether the work is done by other processes.
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
    """How many times as fast, round by round; ``work`` is what the fast one does, in units of the slow one's."""
    return [work * a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)]
