"""A value that moves with the progress of a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tangka_match.errors import ConfigError

SHAPES = ("linear", "cosine")
"""How a schedule moves between its two ends: at an even pace, or slowly at both ends (half a cosine wave)."""


@dataclass(frozen=True)
class Schedule:
    """A value over training progress, the share of the run's optimizer steps already taken.

    Progress counts steps and not epochs, because an epoch of 23 steps and one of 2,300 teach a model very different
    amounts. ``begin == until`` is a jump.

    Args:
        start: Value up to ``begin``.
        end: Value from ``until`` on.
        begin: Progress at which the value starts to move, in [0, 1].
        until: Progress at which it has arrived, in [``begin``, 1].
        shape: ``"linear"`` or ``"cosine"``.

    Raises:
        ConfigError: If a value is not finite, the interval is not one, or the shape is unknown.

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
            raise ConfigError(f"a schedule from {self.start} to {self.end} is not finite; give two numbers")
        if not 0 <= self.begin <= self.until <= 1:
            raise ConfigError(
                f"a schedule with begin={self.begin} and until={self.until} has no course; they are shares of the run "
                "with 0 <= begin <= until <= 1"
            )
        if self.shape not in SHAPES:
            raise ConfigError(f"schedule shape={self.shape!r} is unknown; choose one of {', '.join(SHAPES)}")

    @classmethod
    def read(
        cls,
        name: str,
        value: float | int | Sequence[float | int],
        *,
        begin: float | int,
        until: float | int,
        shape: str,
    ) -> "Schedule":
        """Make a schedule from a setting that is one number, or a pair of start and end.

        Args:
            name: Name of the setting, for the message.
            value: A number, held throughout, or ``[start, end]``.
            begin: See the class.
            until: See the class.
            shape: See the class.

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
        """Return the value at ``progress``; before ``begin`` it is ``start``, from ``until`` on it is ``end``."""
        if progress >= self.until:
            return float(self.end)
        if progress <= self.begin:
            return float(self.start)
        share = (progress - self.begin) / (self.until - self.begin)
        if self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return self.start + share * (self.end - self.start)
