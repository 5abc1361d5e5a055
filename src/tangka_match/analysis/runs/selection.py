"""Select, sort and group runs: runs that differ only in their seed, or in the held-out fold, form a recipe."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tangka_match.errors import ConfigError
from tangka_match.metric_names import METRICS
from tangka_match.records.run_record import RunRecord
from tangka_match.records.setting_names import NON_DECISIVE_KEYS, SEED_KEYS

FOLDS, FOLD = "data.folds", "data.fold"
FIELDS = ("started", "run_id", "name", "status", "seconds", "steps", "seed", "job")
"""Attributes of a run that runs can be sorted by."""


@dataclass(frozen=True)
class Recipe:
    """Runs of the same config, data and code with different seeds, or different folds of a cross-validation.

    Args:
        runs: Runs, in the given order.
    """

    runs: tuple[RunRecord, ...]

    @property
    def counted(self) -> tuple[RunRecord, ...]:
        """Runs that represent the recipe: the finished ones, one per seed and fold, or all if none has finished.

        The recall of an interrupted run is not a sample of the recipe's recall, and a seed that ran twice is a single
        sample: the most recent run counts.
        """
        finished = [run for run in self.runs if run.status == "finished"]
        youngest = {
            (run.seed, run.config.get(FOLD)): run for run in sorted(finished, key=lambda run: run.started or 0.0)
        }
        latest = [run for run in finished if run.seed is None or youngest[run.seed, run.config.get(FOLD)] is run]
        return tuple(latest) or self.runs

    @property
    def has_folds(self) -> bool:
        """Whether its runs held out the folds of a cross-validation."""
        return is_fold(self.runs[0])

    @property
    def num_seeds(self) -> int:
        """Number of seeds; runs of an unknown seed count one each."""
        return len({run.seed if run.seed is not None else run.run_id for run in self.runs})

    def values(self, metric: str) -> list[float]:
        """Return the metric of each run in `counted` that has it."""
        return [run.metrics[metric] for run in self.counted if metric in run.metrics]

    def mean(self, metric: str) -> float | None:
        """Return the mean of `values`; ``None`` without values."""
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def std(self, metric: str) -> float | None:
        """Return the sample standard deviation of `values` (divisor n - 1); ``None`` below two values."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None


def is_fold(run: RunRecord) -> bool:
    """Whether a run held out a fold of a cross-validation."""
    return run.config.get(FOLDS) is not None


def recipe_settings(run: RunRecord) -> dict[str, Any]:
    """Return the settings that the seeds and folds of one recipe share, by dotted name."""
    left_out = (*NON_DECISIVE_KEYS, *SEED_KEYS)
    return {key: value for key, value in run.config.items() if key.split(".")[0] not in left_out and key != FOLD}


def fold_seeds(runs: Sequence[RunRecord]) -> list[Recipe]:
    """Group runs that differ only in their seed, or in the held-out fold, into recipes.

    Output paths, loggers and tags are ignored; data are compared by fingerprint, not by path (except those of folds).
    Runs of different code are different recipes. A run without a readable config is a recipe of its own.

    Args:
        runs: Runs; recipes and their runs keep this order.
    """
    recipes: dict[str, list[RunRecord]] = {}
    for number, run in enumerate(runs):
        recipes.setdefault(_recipe_key(run) if run.config else str(number), []).append(run)
    return [Recipe(tuple(members)) for members in recipes.values()]


def best_first(recipes: Sequence[Recipe], metric: str = METRICS[0]) -> list[Recipe]:
    """Sort recipes by the mean of a metric, highest first, without recipes that lack it."""
    known = {id(recipe): mean for recipe in recipes if (mean := recipe.mean(metric)) is not None}
    return sorted((recipe for recipe in recipes if id(recipe) in known), key=lambda recipe: -known[id(recipe)])


def select_runs(
    runs: Sequence[RunRecord],
    *,
    name: str | None = None,
    tag: str | None = None,
    sweep: str | None = None,
    status: str | None = None,
) -> list[RunRecord]:
    """Return the runs that match all given filters.

    Args:
        runs: Runs to filter.
        name: Name of the experiment, with ``*`` as wildcard.
        tag: A tag of the run.
        sweep: Id of the sweep.
        status: Status of the run.
    """
    return [
        run
        for run in runs
        if (name is None or fnmatchcase(run.name, name))
        and (tag is None or tag in run.tags)
        and (sweep is None or run.sweep == sweep)
        and (status is None or run.status == status)
    ]


def sort_runs(runs: Sequence[RunRecord], order: str) -> list[RunRecord]:
    """Sort runs by a field, a metric or a setting; runs without it come last.

    Args:
        runs: Runs to sort.
        order: Name of the field, metric or setting, with ``-`` in front for descending order.

    Raises:
        ConfigError: If no run has a field, metric or setting of this name.
    """
    key = order.removeprefix("-")
    found = [(value, run) for run in runs if (value := _value(run, key)) is not None]
    if not found and runs and key not in (*FIELDS, *METRICS):
        raise ConfigError(
            f"sort={order}: no run has it; allowed: {', '.join(FIELDS)}, a metric ({', '.join(METRICS)}), or the "
            "dotted name of a setting, such as loss.margin; with - in front for descending order"
        )
    found.sort(key=lambda pair: _comparable(pair[0]), reverse=order.startswith("-"))
    known = {id(run) for _, run in found}
    return [run for _, run in found] + [run for run in runs if id(run) not in known]


def _recipe_key(run: RunRecord) -> str:
    kept = recipe_settings(run)
    if run.data is not None and not is_fold(run):  # the folds of one data set have different fingerprints
        kept["data.root"] = run.data
    kept["code"] = run.code
    return json.dumps(kept, sort_keys=True, ensure_ascii=False, default=str)


def _value(run: RunRecord, key: str) -> Any:
    if key in FIELDS:
        return getattr(run, key)
    return run.metrics.get(key) if key in METRICS else run.config.get(key)


def _comparable(value: Any) -> tuple[int, float, str]:
    """Return a sort key that puts numbers before strings, for settings of mixed types."""
    if isinstance(value, int | float):
        return (0, float(value), "")
    return (1, 0.0, str(value))
