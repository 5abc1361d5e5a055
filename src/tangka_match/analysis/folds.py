"""Cross-validation: queries of all folds pooled, each ranked by the model that did not train on its image."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from tangka_match.analysis.comparison import in_one_order
from tangka_match.analysis.runs.selection import FOLD, FOLDS, is_fold, recipe_settings
from tangka_match.errors import ConfigError
from tangka_match.metrics import Ranks, confidence_intervals, summarise
from tangka_match.records.run_record import RunRecord
from tangka_match.retrieval.evaluation_files import read_ranks_table


class FoldedSeed(NamedTuple):
    """Runs of one recipe and seed, one per fold.

    Attributes:
        seed: Seed of the runs.
        folds: Number of folds.
        runs: Run by index of its held-out fold, ascending.
    """

    seed: int | None
    folds: int
    runs: Mapping[int, RunRecord]


class PooledResult(NamedTuple):
    """Metrics over the queries of all folds.

    Attributes:
        metrics: Metrics, as named by ``summarise``.
        intervals: 95 % confidence intervals over the images.
        images: Number of images.
        captions: Number of captions.
    """

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    images: int
    captions: int


def by_seed(runs: Sequence[RunRecord], side: str) -> list[FoldedSeed]:
    """Arrange the runs of one recipe by seed and fold.

    Args:
        runs: Runs, each with a held-out fold; at least one.
        side: Name of the recipe, for messages.

    Raises:
        ConfigError: If a run has no folds or other settings than the first, a fold occurs twice for a seed, or the
            seeds have different folds.
    """
    whole = next((run for run in runs if not is_fold(run)), None)
    if whole is not None:
        raise ConfigError(
            f"{side}: run {whole.run_id} was trained without data.folds, and other runs of the comparison hold out a "
            "fold; compare folds with folds"
        )
    found: dict[int | None, dict[int, RunRecord]] = {}
    for run in runs:
        _check_recipe(runs[0], run, side)
        folds = found.setdefault(run.seed, {})
        if (earlier := folds.setdefault(run.config[FOLD], run)) is not run:
            raise ConfigError(
                f"{side}: runs {earlier.run_id} and {run.run_id} both hold out fold {run.config[FOLD]} with seed "
                f"{run.seed}; give each fold once"
            )
    seeds = [FoldedSeed(seed, runs[0].config[FOLDS], dict(sorted(folds.items()))) for seed, folds in found.items()]
    for seed in seeds[1:]:
        check_same_folds(f"{side}, seed {seeds[0].seed}", seeds[0], f"{side}, seed {seed.seed}", seed)
    return seeds


def check_same_folds(name: str, first: FoldedSeed, other_name: str, other: FoldedSeed) -> None:
    """Check that two recipes, or two seeds of one, were trained on the same folds.

    Raises:
        ConfigError: If they were not; the message lists the folds of both.
    """
    if (first.folds, list(first.runs)) != (other.folds, list(other.runs)):
        raise ConfigError(
            f"{name} has the folds {list(first.runs)} of {first.folds}, {other_name} has {list(other.runs)} of "
            f"{other.folds}; a comparison needs the same folds: train the missing ones, or leave out the others"
        )


def pool_ranks(seeds: Sequence[FoldedSeed]) -> tuple[list[Ranks], Int[Tensor, " C"]]:
    """Pool the ranks of all folds.

    Args:
        seeds: Runs with the same folds, of one recipe or several; at least one.

    Returns:
        Pooled ranks, one entry per item of ``seeds``, and the row of each caption's image, (C,).

    Raises:
        DataFormatError: If a table of ranks is damaged, or two runs held out different queries in the same fold.
    """
    parts: list[list[Ranks]] = [[] for _ in seeds]
    owners: list[Tensor] = []
    images = 0
    for fold in seeds[0].runs:
        paths = [seed.runs[fold].path / "ranks.csv" for seed in seeds]
        ranks, caption_to_image = in_one_order({path: read_ranks_table(path) for path in dict.fromkeys(paths)})
        for part, path in zip(parts, paths, strict=True):
            part.append(ranks[path])
        owners.append(caption_to_image + images)
        images += len(ranks[paths[0]].i2t)
    pooled = [Ranks(*(torch.cat(directions) for directions in zip(*part, strict=True))) for part in parts]
    return pooled, torch.cat(owners)


def pooled_result(seed: FoldedSeed) -> PooledResult:
    """Compute the metrics over the queries of all folds, with intervals.

    The gallery of a query is its fold. Near-duplicates are in one fold, so they still compete with each other.

    Args:
        seed: Runs of one recipe and seed.
    """
    (ranks,), owners = pool_ranks([seed])
    return PooledResult(summarise(ranks), confidence_intervals(ranks, owners), len(ranks.i2t), len(ranks.t2i))


def describe_folds(seed: FoldedSeed) -> str:
    """Describe the folds of a seed in words.

    >>> describe_folds(FoldedSeed(0, 3, {0: None, 1: None, 2: None})), describe_folds(FoldedSeed(0, 9, {4: None}))
    ('3 folds', 'fold 4 of 9')
    """
    if len(seed.runs) == seed.folds:
        return f"{seed.folds} folds"
    listed = ", ".join(map(str, seed.runs))
    return f"fold{'s' if len(seed.runs) > 1 else ''} {listed} of {seed.folds}"


def _check_recipe(first: RunRecord, run: RunRecord, side: str) -> None:
    own, others = recipe_settings(first), recipe_settings(run)
    for key in sorted({*own, *others}):
        if own.get(key) != others.get(key):
            raise ConfigError(
                f"{side}: {key} is {own.get(key)} in run {first.run_id} and {others.get(key)} in run {run.run_id}; "
                "give the folds and seeds of one recipe"
            )
