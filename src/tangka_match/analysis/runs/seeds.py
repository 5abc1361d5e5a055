"""Seeds folded: runs that are equal but for their seed are one recipe."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tangka_match.analysis.runs.differences import BESIDE_THE_POINT, OF_THE_DRAW
from tangka_match.analysis.runs.record import METRICS, RunRecord


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
    left_out = (*BESIDE_THE_POINT, *OF_THE_DRAW)
    kept = {key: value for key, value in run.config.items() if key.split(".")[0] not in left_out}
    if run.data is not None:
        kept["data.root"] = run.data
    kept["code"] = run.code
    return json.dumps(kept, sort_keys=True, ensure_ascii=False, default=str)
