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


def take_turns(functions: Mapping[str, Callable[[], object]], rounds: int, warm_up: bool = True) -> dict[str, Timing]:
    """Time each function once a round; one round before that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(-1 if warm_up else 0, rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(found) for name, found in seconds.items()}


def ratios(slow: Timing, fast: Timing, work: float = 1.0) -> list[float]:
    """How many times as fast, round by round; ``work`` is what the fast one does, in units of the slow one's."""
    return [work * a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)]
