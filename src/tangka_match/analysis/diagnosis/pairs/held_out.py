"""Scores of each held-out fold of a cross-validation, by the model that did not train on it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.analysis.diagnosis.sections import find_best_checkpoint
from tangka_match.analysis.folds import FoldedSeed, by_seed
from tangka_match.analysis.runs.selection import is_fold
from tangka_match.data.captions import is_punctuation
from tangka_match.data.split import Split, select_images
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.metrics import retrieval_ranks
from tangka_match.records.run_files import read_run_files
from tangka_match.records.run_record import RunRecord, make_record
from tangka_match.retrieval.evaluation_files import Query, read_ranks_table
from tangka_match.retrieval.trained_matcher import TrainedMatcher

MAX_DIFFERENT_RANKS = 0.05
"""Largest share of ranks that may differ from those that the run recorded, for example because of another device."""


class FoldScores(NamedTuple):
    """Scores of a held-out fold.

    Attributes:
        fold: Index of the fold.
        images: (I,) rows of its images in the pool, ascending.
        captions: (C,) indices of its captions in the pool, ascending.
        owners: (C,) row of each caption's image among ``images``.
        similarity: (I, C) scores by the model that did not train on them.
        unknown: (C,) ``True`` for captions without a word of the model's vocabulary.
    """

    fold: int
    images: npt.NDArray[np.int64]
    captions: npt.NDArray[np.int64]
    owners: npt.NDArray[np.int64]
    similarity: Float[Tensor, "I C"]
    unknown: npt.NDArray[np.bool_]


def read_folds(folders: Sequence[Path]) -> FoldedSeed:
    """Read the runs of one recipe and seed, one per fold.

    Args:
        folders: Run folders.

    Raises:
        ConfigError: If a run held out no fold or has not finished, or the runs are not the folds of one recipe and
            seed.
    """
    runs = [make_record(read_run_files(folder)) for folder in folders]
    whole = next((run for run in runs if not is_fold(run)), None)
    if whole is not None:
        raise ConfigError(
            f"folds: run {whole.run_id} held out no fold; give the runs, or the sweep, of a cross-validation: train -m "
            "data.folds=9 'data.fold=range(9)'"
        )
    seeds = by_seed(runs, "folds")
    if len(seeds) > 1:
        listed = ", ".join(str(seed.seed) for seed in seeds)
        raise ConfigError(f"folds: the runs have the seeds {listed}; give the runs of one seed")
    unfinished = next((run for run in seeds[0].runs.values() if not run.has_ranks), None)
    if unfinished is not None:
        raise ConfigError(
            f"folds: run {unfinished.run_id} has not finished (status: {unfinished.status}); continue it with "
            f"resume={unfinished.run_id}"
        )
    return seeds[0]


def score_folds(
    seed: FoldedSeed, pool: Split, checkpoints: Path, load: Callable[[Path], TrainedMatcher]
) -> list[FoldScores]:
    """Score each fold with the model that held it out.

    Args:
        seed: Runs, one per fold.
        pool: Images of train and val, from ``pool_splits``.
        checkpoints: ``paths.checkpoints`` of the command.
        load: Function that loads a checkpoint.

    Raises:
        ConfigError: If a run has no ``best.ckpt``.
        DataFormatError: If the pool is not the data that the runs were trained on.
    """
    found = {fold: find_best_checkpoint(run.path, checkpoints) for fold, run in seed.runs.items()}
    missing = [seed.runs[fold].run_id for fold, path in found.items() if path is None]
    if missing:
        raise ConfigError(
            f"folds: run {missing[0]} has no best.ckpt below {checkpoints}, which is needed to score its fold; set "
            "paths.checkpoints to the folder of the training runs"
        )
    return [_score(run, fold, pool, load(path)) for fold, run in seed.runs.items() if (path := found[fold]) is not None]


def _score(run: RunRecord, fold: int, pool: Split, matcher: TrainedMatcher) -> FoldScores:
    """Score one fold, and check its ranks."""
    recorded = read_ranks_table(run.path / "ranks.csv")
    rows = {image_id: row for row, image_id in enumerate(pool.image_ids)}
    names = [query.image for query in recorded if query.direction == "i2t"]
    unknown_id = next((name for name in names if name not in rows), None)
    if unknown_id is not None:
        raise DataFormatError(
            f"{pool.captions_path.parent}: has no image {unknown_id!r}, which run {run.run_id} held out; "
            "set data.root to the data set of that run"
        )
    images = np.array(sorted(rows[name] for name in names), dtype=np.int64)
    held_out = select_images(pool, images)
    similarity = matcher.similarity(*matcher.encode_split(held_out))
    _check_ranks(run, held_out, similarity, recorded)
    words = ([word for word in matcher.tokenizer(text) if not is_punctuation(word)] for text in held_out.captions)
    return FoldScores(
        fold,
        images,
        np.flatnonzero(np.isin(pool.caption_to_image, images)),
        held_out.caption_to_image,
        similarity,
        np.array([not any(word in matcher.vocabulary for word in caption) for caption in words], dtype=np.bool_),
    )


def _check_ranks(run: RunRecord, held_out: Split, similarity: Float[Tensor, "I C"], recorded: dict[Query, int]) -> None:
    """Check that data and model give the ranks that the run recorded."""
    names = [held_out.image_ids[image] for image in held_out.caption_to_image]
    queries = [Query("i2t", name, name) for name in held_out.image_ids]
    queries += [Query("t2i", str(caption), name) for caption, name in enumerate(names)]
    ranks = torch.cat(retrieval_ranks(similarity, torch.as_tensor(held_out.caption_to_image))).tolist()
    different = sum(recorded.get(query) != rank for query, rank in zip(queries, ranks, strict=True))
    if different > MAX_DIFFERENT_RANKS * len(queries) or len(queries) != len(recorded):
        raise DataFormatError(
            f"{held_out.captions_path.parent}: {different:,} of the {len(recorded):,} ranks that run {run.run_id} "
            "recorded differ with these data; captions or features have changed since. Set data.root to the data set "
            "of that run, or train the folds again"
        )
