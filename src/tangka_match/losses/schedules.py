"""Settings of a loss that change over the course of training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from tangka_match.errors import ConfigError

SHAPES = ("linear", "cosine")
"""Interpolations between the two ends of a schedule; ``"cosine"`` is half a cosine wave, slow at both ends."""
Scheduled = float | int | Sequence[float | int]
"""A setting that is constant (one number) or scheduled (``[start, end]``)."""


@dataclass(frozen=True)
class Schedule:
    """A value as a function of training progress, the completed share of the run's optimizer steps.

    Progress counts steps, not epochs, because the number of steps per epoch depends on the size of the training set.
    ``begin == until`` is a jump.

    Args:
        start: Value up to ``begin``.
        end: Value from ``until`` on.
        begin: Progress at which the value starts to change, in [0, 1].
        until: Progress at which the value reaches ``end``, in [``begin``, 1].
        shape: ``"linear"`` or ``"cosine"``.

    Raises:
        ConfigError: If a value is not finite, ``begin`` and ``until`` are out of order, or the shape is unknown.

    Example:
        >>> margin = Schedule(start=0.1, end=0.2, begin=0.0, until=0.5)
        >>> [round(margin(progress), 3) for progress in (0.0, 0.25, 0.5, 1.0)]
        [0.1, 0.15, 0.2, 0.2]
    """

    start: float | int
    end: float | int
    begin: float | int = 0.0
    until: float | int = 1.0
    shape: str = "linear"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise ConfigError(f"a schedule from {self.start} to {self.end} is not finite; give two finite numbers")
        if not 0 <= self.begin <= self.until <= 1:
            raise ConfigError(
                f"a schedule has begin={self.begin} and until={self.until}; both are shares of the run with "
                "0 <= begin <= until <= 1"
            )
        if self.shape not in SHAPES:
            raise ConfigError(f"schedule shape={self.shape!r} is unknown; choose one of {', '.join(SHAPES)}")

    @classmethod
    def read(
        cls,
        name: str,
        value: Scheduled,
        *,
        begin: float | int,
        until: float | int,
        shape: str,
    ) -> "Schedule":
        """Build a schedule from a setting.

        Args:
            name: Name of the setting, for the message.
            value: One number for a constant, or ``[start, end]``.
            begin: Progress at which the value starts to change.
            until: Progress at which the value reaches its end.
            shape: ``"linear"`` or ``"cosine"``.

        Raises:
            ConfigError: If a sequence does not hold two numbers.

        Example:
            >>> Schedule.read("margin", 0.2, begin=0.0, until=0.5, shape="linear")
            Schedule(start=0.2, end=0.2, begin=0.0, until=0.5, shape='linear')
        """
        ends = list(value) if isinstance(value, Sequence) else [value, value]
        if len(ends) != 2:
            raise ConfigError(f"{name}={ends} has {len(ends)} values; give one number, or [start, end]")
        return cls(ends[0], ends[1], begin, until, shape)

    def __call__(self, progress: float | int) -> float:
        """Return the value at ``progress``."""
        if progress >= self.until:
            return float(self.end)
        if progress <= self.begin:
            return float(self.start)
        share = (progress - self.begin) / (self.until - self.begin)
        if self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return self.start + share * (self.end - self.start)


def apply_schedules(loss: nn.Module, progress: float | int) -> None:
    """Set the scheduled attributes of a loss, and of losses within it, to their values at ``progress``.

    A loss with scheduled settings has an attribute ``schedules``, a mapping from attribute names to `Schedule`. The
    callback ``LossSchedule`` calls this function before each training step and each validation.

    Args:
        loss: Any loss; one without ``schedules`` is not changed.
        progress: Completed share of the run's optimizer steps, in [0, 1].

    Example:
        >>> from tangka_match.losses import CurriculumLoss
        >>> loss = CurriculumLoss(margin=[0.1, 0.3], until=1.0)
        >>> apply_schedules(loss, 0.5)
        >>> loss.margin
        0.2
    """
    for part in loss.modules():
        for name, schedule in getattr(part, "schedules", {}).items():
            setattr(part, name, schedule(progress))
