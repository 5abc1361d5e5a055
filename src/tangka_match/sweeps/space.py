"""The space that a study searches: bounds are checked, and each dimension becomes one of Optuna's distributions."""

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tangka_match.errors import ConfigError


@dataclass(frozen=True)
class Dimension:
    """One searched setting.

    Args:
        name: Dotted, as on the command line: ``optimizer.lr``.
        distribution: What is searched.
    """

    name: str
    distribution: BaseDistribution

    def corners(self) -> list[str]:
        """Values that must be legal if all of them are to be: both bounds, or every choice; as text."""
        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return [str(choice) for choice in distribution.choices]
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        return [repr(distribution.low), repr(distribution.high)]

    def grid(self) -> list[str | int | float]:
        """Every value.

        Raises:
            ConfigError: If there are infinitely many.
        """
        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return list(distribution.choices)  # type: ignore[arg-type]
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        if distribution.step is None or distribution.log:
            raise ConfigError(
                f"{self.name}: an interval has no end of values, and sweep.sampler=grid wants them all: list them "
                f"({self.name}=0.1,0.2), or use sweep.sampler=tpe or random"
            )
        if isinstance(distribution, IntDistribution):
            return list(range(distribution.low, distribution.high + 1, distribution.step))
        count = round((distribution.high - distribution.low) / distribution.step)
        return [distribution.low + i * distribution.step for i in range(count + 1)]


def choices(name: str, values: Sequence[str]) -> Dimension:
    """One of several values, each as text for the command line.

    Raises:
        ConfigError: If there are none.
    """
    if not values:
        raise ConfigError(f"{name}: no values to choose from")
    return Dimension(name, CategoricalDistribution(list(dict.fromkeys(values))))


def interval(
    name: str, low: float, high: float, *, log: bool = False, whole: bool = False, step: float | None = None
) -> Dimension:
    """Numbers from ``low`` to ``high``, both included.

    Args:
        name: Of the setting.
        low: Lower bound.
        high: Upper bound.
        log: Search evenly in the logarithm.
        whole: Whole numbers only.
        step: Between values; ``None`` takes every number.

    Raises:
        ConfigError: If the bounds are the wrong way round, or a logarithm is asked of numbers that have none.

    >>> interval("loss.margin", 0.4, 0.1)
    Traceback (most recent call last):
    tangka_match.errors.ConfigError: loss.margin: the lower bound 0.4 is above the upper bound 0.1: swap them
    """
    if low > high:
        raise ConfigError(f"{name}: the lower bound {low} is above the upper bound {high}: swap them")
    if log and low <= 0:
        raise ConfigError(f"{name}: searched in the logarithm from {low}: the lower bound must be above 0")
    if log and step is not None:
        raise ConfigError(
            f"{name}: a range with steps cannot be searched in the logarithm: use interval({low}, {high})"
        )
    if whole:
        return Dimension(name, IntDistribution(int(low), int(high), log=log, step=int(step or 1)))
    return Dimension(name, FloatDistribution(float(low), float(high), log=log, step=step))
