"""What a run knows of the sweep that started it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class SweepJob:
    """A run's place in a sweep; the records keep the first three.

    Args:
        sweep: Id of the sweep: the W&B group.
        number: Of the job, from 0; in a study the number of the trial.
        overrides: What the command line set for this job: ``optimizer.lr=0.001``.
        report: Told the epoch, from 0, and ``val/mean_r1`` after each validation; answers whether the run shall stop
            because it is not worth going on. ``None`` where nobody asks.
    """

    sweep: str
    number: int
    overrides: tuple[str, ...]
    report: Callable[[int, float], bool] | None = None
