"""Choosing runs: filters, order, and runs that differ only in their seed folded into one recipe."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tangka_match.errors import ConfigError
from tangka_match.records.run_record import METRICS, RunRecord
from tangka_match.records.setting_names import NON_DECISIVE_KEYS, SEED_KEYS


@dataclass(frozen=True)
class Recipe:
    """Runs of one config on the same data, by the same code.

    Args:
        runs: Its seeds, in the order given.
    """

    runs: tuple[RunRecord, ...]

    @property
    def counted(self) -> tuple[RunRecord, ...]:
        """The runs whose numbers stand for the recipe: those that finished, one a seed, or all where none did.

        The recall of a run cut short is no sample of the recipe's, and a seed that ran twice is one sample: the
        younger run is taken.
        """
        finished = [run for run in self.runs if run.status == "finished"]
        youngest = {run.seed: run for run in sorted(finished, key=lambda run: run.started or 0.0)}
        return tuple(run for run in finished if run.seed is None or youngest[run.seed] is run) or self.runs

    def values(self, metric: str) -> list[float]:
        """The metric of each run that counts and has it."""
        return [run.metrics[metric] for run in self.counted if metric in run.metrics]

    def mean(self, metric: str) -> float | None:
        """Over `values`; ``None`` where there are none."""
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def std(self, metric: str) -> float | None:
        """Sample standard deviation (divisor n - 1); ``None`` below two values."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None


def fold_seeds(runs: Sequence[RunRecord]) -> list[Recipe]:
    """Put runs that differ in their seed alone into one recipe.

    Where they write and log, and their tags, do not count; the data's fingerprint does, the path to them does not. Runs
    of other code are another recipe. A run whose config cannot be read stays alone.

    Args:
        runs: In the order that recipes and their runs keep.
    """
    recipes: dict[str, list[RunRecord]] = {}
    for number, run in enumerate(runs):
        recipes.setdefault(_recipe_key(run) if run.config else str(number), []).append(run)
    return [Recipe(tuple(members)) for members in recipes.values()]


def best_first(recipes: Sequence[Recipe], metric: str = METRICS[0]) -> list[Recipe]:
    """Recipes by their mean, highest first; without those that have none."""
    known = {id(recipe): mean for recipe in recipes if (mean := recipe.mean(metric)) is not None}
    return sorted((recipe for recipe in recipes if id(recipe) in known), key=lambda recipe: -known[id(recipe)])


def _recipe_key(run: RunRecord) -> str:
    left_out = (*NON_DECISIVE_KEYS, *SEED_KEYS)
    kept = {key: value for key, value in run.config.items() if key.split(".")[0] not in left_out}
    if run.data is not None:
        kept["data.root"] = run.data
    kept["code"] = run.code
    return json.dumps(kept, sort_keys=True, ensure_ascii=False, default=str)


FIELDS = ("started", "run_id", "name", "status", "seconds", "steps", "seed", "job")


def select_runs(
    runs: Sequence[RunRecord],
    *,
    name: str | None = None,
    tag: str | None = None,
    sweep: str | None = None,
    status: str | None = None,
) -> list[RunRecord]:
    """Keep the runs that fit everything that is given.

    Args:
        runs: To choose from.
        name: Of the experiment; ``*`` stands for anything.
        tag: One of the run's.
        sweep: Id of its sweep.
        status: Of the run.
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
    """Sort by a field, a metric or a setting; runs without it come last.

    Args:
        runs: To sort.
        order: The name, with ``-`` before it for falling order.

    Raises:
        ConfigError: If no run has anything of this name.
    """
    key = order.removeprefix("-")
    found = [(value, run) for run in runs if (value := _value(run, key)) is not None]
    if not found and runs and key not in (*FIELDS, *METRICS):
        raise ConfigError(
            f"sort={order}: no run has it; allowed: {', '.join(FIELDS)}, a metric ({', '.join(METRICS)}), or a setting "
            "by its dotted name, such as loss.margin; - before it for falling order"
        )
    found.sort(key=lambda pair: _comparable(pair[0]), reverse=order.startswith("-"))
    known = {id(run) for _, run in found}
    return [run for _, run in found] + [run for run in runs if id(run) not in known]


def _value(run: RunRecord, key: str) -> Any:
    if key in FIELDS:
        return getattr(run, key)
    return run.metrics.get(key) if key in METRICS else run.config.get(key)


def _comparable(value: Any) -> tuple[int, float, str]:
    """Numbers before texts, so that a setting of both sorts can be sorted."""
    if isinstance(value, int | float):
        return (0, float(value), "")
    return (1, 0.0, str(value))
