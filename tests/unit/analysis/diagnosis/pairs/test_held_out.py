"""Runs of a cross-validation, read for their held-out pairs; scores: ``tests/integration/test_pairs.py``."""

import pytest

from helpers.run_folders import SMALL, write_run
from tangka_match.analysis.diagnosis.pairs.held_out import read_folds
from tangka_match.errors import ConfigError


def fold_run(root, fold, *, seed=0, folds=2, status="finished", ranks=True):
    config = {"data": {**SMALL["data"], "folds": folds, "fold": fold}}
    return write_run(root, f"run-{fold}-{seed}", seed=seed, config=config, status=status, ranks=ranks)


def test_folds_of_one_seed_are_arranged(tmp_path):
    seed = read_folds([fold_run(tmp_path, fold) for fold in (1, 0)])
    assert list(seed.runs) == [0, 1]
    assert seed.folds == 2


def test_run_without_a_fold_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"folds: run whole held out no fold; give the runs, or the sweep, of"):
        read_folds([fold_run(tmp_path, 0), write_run(tmp_path, "whole", ranks=True)])


def test_several_seeds_are_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"folds: the runs have the seeds 0, 3; give the runs of one seed"):
        read_folds([fold_run(tmp_path, fold, seed=seed) for seed in (0, 3) for fold in (0, 1)])


def test_unfinished_run_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"folds: run run-1-0 has not finished \(status: stopped\); .*resume=run-1-0"):
        read_folds([fold_run(tmp_path, 0), fold_run(tmp_path, 1, status="stopped")])
