"""Search space of a study: dimensions read from Hydra's override grammar, as Optuna distributions."""

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tangka_match.errors import ConfigError

MAX_CORNERS = 64
"""Number of corners that are checked in all combinations; a check takes about 0.1 s."""


@dataclass(frozen=True)
class Dimension:
    """Searched setting.

    Args:
        name: Dotted name, as on the command line: ``optimizer.lr``.
        distribution: Values to search.
    """

    name: str
    distribution: BaseDistribution

    def corners(self) -> list[str]:
        """Return the values that must be valid for all to be valid, as text: both bounds, or every choice."""
        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return [str(choice) for choice in distribution.choices]
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        return [repr(distribution.low), repr(distribution.high)]

    @property
    def count(self) -> int | None:
        """Number of values; ``None`` if there are infinitely many."""
        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return len(distribution.choices)
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        if distribution.step is None:
            return None
        return round((distribution.high - distribution.low) / distribution.step) + 1

    def grid(self) -> list[str | int | float]:
        """Return every value.

        Raises:
            ConfigError: If there are infinitely many.
        """
        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return list(distribution.choices)  # type: ignore[arg-type]
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        if distribution.step is None:
            raise ConfigError(
                f"{self.name}: sweep.sampler=grid cannot enumerate an interval: list the values "
                f"({self.name}=0.1,0.2), or use sweep.sampler=tpe or random"
            )
        if isinstance(distribution, IntDistribution):
            return list(range(distribution.low, distribution.high + 1, distribution.step))
        return [distribution.low + i * distribution.step for i in range(self.count or 0)]


def choices(name: str, values: Sequence[str]) -> Dimension:
    """Make a dimension of listed values.

    Args:
        name: Dotted name of the setting.
        values: Values as text for the command line.

    Raises:
        ConfigError: If there are none.
    """
    if not values:
        raise ConfigError(f"{name}: no values to choose from")
    return Dimension(name, CategoricalDistribution(list(dict.fromkeys(values))))


def interval(
    name: str, low: float, high: float, *, log: bool = False, whole: bool = False, step: float | None = None
) -> Dimension:
    """Make a dimension of numbers from ``low`` to ``high``, both included.

    Args:
        name: Dotted name of the setting.
        low: Lower bound.
        high: Upper bound.
        log: Whether to search on a logarithmic scale.
        whole: Whether to search integers only.
        step: Distance between values; ``None`` allows every number.

    Raises:
        ConfigError: If the bounds are swapped, or ``log`` is combined with a bound <= 0 or with ``step``.

    >>> interval("loss.margin", 0.4, 0.1)
    Traceback (most recent call last):
    tangka_match.errors.ConfigError: loss.margin: the lower bound 0.4 is above the upper bound 0.1: swap them
    """
    if low > high:
        raise ConfigError(f"{name}: the lower bound {low} is above the upper bound {high}: swap them")
    if log and low <= 0:
        raise ConfigError(f"{name}: the lower bound of a search on a logarithmic scale is {low}; it must be > 0")
    if log and step is not None:
        raise ConfigError(
            f"{name}: a range with steps cannot be searched on a logarithmic scale: use interval({low}, {high})"
        )
    if whole:
        return Dimension(name, IntDistribution(int(low), int(high), log=log, step=int(step or 1)))
    return Dimension(name, FloatDistribution(float(low), float(high), log=log, step=step))


def split_space(overrides: Sequence[Override]) -> tuple[list[str], list[Dimension]]:
    """Split overrides into fixed ones and searched dimensions; a later override of the same setting wins.

    Args:
        overrides: Parsed overrides: the space of the config first, then the command line.

    Returns:
        Fixed overrides as text, and the dimensions.

    Raises:
        ConfigError: If nothing is searched, or a dimension is invalid.
    """
    by_name = {override.get_key_element(): override for override in overrides}
    fixed, space = [], []
    for name, override in by_name.items():
        if override.is_sweep_override():
            space.append(_dimension(name, override))
        else:
            fixed.append(f"{name}={override.get_value_element_as_str()}")
    if not space:
        raise ConfigError(
            "hydra/sweeper=study searches nothing: choose a space (sweep=lr_margin), or give one on the command line: "
            "'optimizer.lr=tag(log, interval(1e-4, 1e-3))'"
        )
    return fixed, space


def space_corners(space: Sequence[Dimension]) -> list[list[str]]:
    """Return overrides of points that must be valid for the whole space to be valid.

    These are all combinations of the corners of the dimensions, because two values may contradict each other. If there
    are more than `MAX_CORNERS`, they are every corner once, and random combinations that hold almost every pair.
    """
    corners = [dimension.corners() for dimension in space]
    if math.prod(map(len, corners)) <= MAX_CORNERS:
        points = list(itertools.product(*corners))
    else:
        first = tuple(values[0] for values in corners)
        single = [(*first[:n], value, *first[n + 1 :]) for n, values in enumerate(corners) for value in values[1:]]
        draw = random.Random(0)  # noqa: S311 - not a secret
        drawn = [tuple(draw.choice(values) for values in corners) for _ in range(MAX_CORNERS)]
        points = list(dict.fromkeys([first, *single, *drawn]))
    names = [dimension.name for dimension in space]
    return [[f"{name}={value}" for name, value in zip(names, point, strict=True)] for point in points]


def _dimension(name: str, override: Override) -> Dimension:
    value = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        return interval(name, value.start, value.end, log="log" in value.tags, whole=whole)
    if isinstance(value, RangeSweep):
        assert value.start is not None
        assert value.stop is not None
        whole = all(isinstance(number, int) for number in (value.start, value.stop, value.step))
        return interval(name, *_bounds(value, whole=whole), log="log" in value.tags, whole=whole, step=value.step)
    values = list(override.sweep_string_iterator())
    if not values:
        raise ConfigError(f"{override.input_line}: no value matches, so that there is nothing to choose; correct it")
    return choices(name, values)


def _bounds(value: RangeSweep, *, whole: bool) -> tuple[float, float]:
    """Return the first and the last value of a range; its stop is exclusive."""
    values = list(value.range())
    if not values:
        return value.start, value.stop  # type: ignore[return-value]  # swapped bounds, which `interval` refuses
    return (int(values[0]), int(values[-1])) if whole else (float(values[0]), float(values[-1]))
