"""Folds of a cross-validation, arranged by seed and pooled."""

import pytest
import torch

from helpers.rank_tables import random_ranks, table_lines
from helpers.records import record_of
from helpers.run_folders import SMALL, write_run
from tangka_match.analysis.folds import by_seed, pool_ranks, pooled_result
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.metrics import summarise


def fold_run(root, fold, *, seed=0, folds=2, name="", owners=None, generator=None, margin=0.2):
    """Write a run that held out a fold, with a table of ranks where ``owners`` are given."""
    config = {"loss": {"margin": margin}, "data": {**SMALL["data"], "folds": folds, "fold": fold}}
    run = write_run(root, f"run{name}-{fold}-{seed}", seed=seed, config=config)
    if owners is not None:
        lines = table_lines(random_ranks(owners, 0.5, generator), owners)
        lines = [line.replace("image-", f"fold{fold}-") for line in lines]
        (run / "ranks.csv").write_text("\n".join(("direction,query,image,rank", *lines)) + "\n", "utf-8")
    return record_of(run)


def test_runs_are_arranged_by_seed_and_fold(tmp_path):
    runs = [fold_run(tmp_path, fold, seed=seed) for fold, seed in ((1, 0), (0, 5), (0, 0), (1, 5))]
    arranged = by_seed(runs, "a")
    assert [(seed.seed, seed.folds, list(seed.runs)) for seed in arranged] == [(0, 2, [0, 1]), (5, 2, [0, 1])]
    assert arranged[0].runs[1] is runs[0]


def test_queries_of_ragged_folds_are_pooled(tmp_path):
    generator = torch.Generator().manual_seed(0)
    owners = [torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 2, 3])]
    runs = [fold_run(tmp_path, fold, owners=owners[fold], generator=generator) for fold in (0, 1)]
    (seed,) = by_seed(runs, "a")
    (ranks,), caption_to_image = pool_ranks([seed])
    assert caption_to_image.tolist() == [0, 0, 1, 2, 2, 2, 3, 4, 4, 5, 6]
    assert (len(ranks.i2t), len(ranks.t2i)) == (7, 11)
    generator = torch.Generator().manual_seed(0)
    parts = [random_ranks(part, 0.5, generator) for part in owners]
    assert ranks.i2t.tolist() == torch.cat([part.i2t for part in parts]).tolist()
    assert ranks.t2i.tolist() == torch.cat([part.t2i for part in parts]).tolist()
    result = pooled_result(seed)
    assert (result.metrics, result.images, result.captions) == (summarise(ranks), 7, 11)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"fold": 0, "name": "x"}, "runs run-0-0 and runx-0-0 both hold out fold 0 with seed 0"),
        ({"fold": 1, "margin": 0.3}, "a: loss.margin is 0.2 in run run-0-0 and 0.3 in run run-1-0"),
        ({"fold": 1, "folds": 3}, "a: data.folds is 2 in run run-0-0 and 3"),
        ({"fold": 1, "seed": 3}, r"a, seed 0 has the folds \[0\] of 2, a, seed 3 has \[1\] of 2"),
    ],
)
def test_what_is_not_one_recipe_is_an_error(tmp_path, second, message):
    with pytest.raises(ConfigError, match=message):
        by_seed([fold_run(tmp_path, 0), fold_run(tmp_path, **second)], "a")


def test_a_run_without_folds_is_an_error(tmp_path):
    whole = record_of(write_run(tmp_path, "whole"))
    for runs in ([fold_run(tmp_path, 0), whole], [whole, fold_run(tmp_path, 1)]):
        with pytest.raises(ConfigError, match=r"a: run whole was trained without data\.folds"):
            by_seed(runs, "a")


def test_other_queries_in_a_fold_are_an_error(tmp_path):
    generator = torch.Generator().manual_seed(0)
    sides = [
        by_seed([fold_run(tmp_path, 0, name=name, owners=torch.arange(size), generator=generator)], name)[0]
        for name, size in (("a", 5), ("b", 6))
    ]
    with pytest.raises(DataFormatError, match="a comparison needs the same queries"):
        pool_ranks(sides)
