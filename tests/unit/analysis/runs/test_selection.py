import pytest

from helpers.records import record_of
from helpers.run_folders import SMALL, write_run
from tangka_match.analysis.runs.selection import best_first, fold_seeds, select_runs, sort_runs
from tangka_match.errors import ConfigError


def test_runs_with_different_seeds_are_one_recipe(tmp_path):
    for name, r1, seed, config in [
        ("a", 30.0, 0, {}),
        ("b", 34.0, 1, {"tags": ["again"], "paths": {"runs": "elsewhere"}}),
        ("c", 50.0, 0, {"loss": {"margin": 0.3}}),
        ("d", 32.0, 2, {}),
    ]:
        write_run(tmp_path, name, r1=r1, seed=seed, config=config)
    recipes = fold_seeds([record_of(tmp_path / name) for name in "abcd"])
    assert [[run.run_id for run in recipe.runs] for recipe in recipes] == [["a", "b", "d"], ["c"]]
    assert (recipes[0].mean("mean_r1"), recipes[0].std("mean_r1")) == (pytest.approx(32.0), pytest.approx(2.0))
    assert (recipes[1].mean("mean_r1"), recipes[1].std("mean_r1")) == (50.0, None)
    assert best_first(recipes) == [recipes[1], recipes[0]]


def test_folds_of_one_recipe_are_one_recipe(tmp_path):
    for fold in range(3):
        for seed in (0, 1):
            data = {**SMALL["data"], "folds": 3, "fold": fold, "fold_val_share": 0.1}
            write_run(tmp_path, f"{fold}{seed}", seed=seed, config={"data": data}, data_fingerprint=f"f{fold}")
    write_run(tmp_path, "whole")
    runs = [record_of(path) for path in sorted(tmp_path.iterdir())]
    folded, whole = fold_seeds(runs)
    assert (len(folded.runs), len(folded.counted), folded.num_seeds, folded.has_folds) == (6, 6, 2, True)
    assert (len(whole.runs), whole.has_folds) == (1, False)


def test_unfinished_run_is_not_counted(tmp_path):
    runs = [write_run(tmp_path, name, r1=r1, status=s) for name, r1, s in (("a", 30, "finished"), ("b", 4, "failed"))]
    (recipe,) = fold_seeds([record_of(run) for run in runs])
    assert (len(recipe.runs), recipe.mean("mean_r1"), recipe.std("mean_r1")) == (2, 30.0, None)


def test_repeated_seed_counts_once_with_its_latest_run(tmp_path):
    for name, r1, seed, began in (("a", 30.0, 0, 1e9), ("b", 34.0, 1, 1e9), ("c", 32.0, 0, 2e9)):
        write_run(tmp_path, name, r1=r1, seed=seed, began=began)
    (recipe,) = fold_seeds([record_of(tmp_path / name) for name in "abc"])
    assert [run.run_id for run in recipe.counted] == ["b", "c"]
    assert recipe.mean("mean_r1") == pytest.approx(33.0)


def test_all_runs_count_if_none_finished(tmp_path):
    (recipe,) = fold_seeds(
        [record_of(write_run(tmp_path, name, r1=r1, status=None)) for name, r1 in (("a", 30.0), ("b", 10.0))]
    )
    assert recipe.mean("mean_r1") == pytest.approx(20.0)


def test_runs_with_equal_data_fingerprints_share_a_recipe(tmp_path):
    moved = {"data": {"root": "/elsewhere/demo_small", "batch_size": 32}}
    runs = [
        record_of(write_run(tmp_path, "a")),
        record_of(write_run(tmp_path, "b", config=moved)),
        record_of(write_run(tmp_path, "c", data_fingerprint="beef")),
    ]
    assert [len(recipe.runs) for recipe in fold_seeds(runs)] == [2, 1]


@pytest.mark.parametrize(
    ("starts", "folded"),
    [
        (({"git_commit": "a"}, {"git_commit": "b"}), False),
        (({"git_commit": "a", "sources": "s"}, {"git_commit": "b", "sources": "s"}), True),
        (({"git_commit": "a+dirty", "sources": "s"}, {"git_commit": "a+dirty", "sources": "t"}), False),
    ],
    ids=["other commits", "other commits of the same files", "two changed checkouts"],
)
def test_different_code_is_a_different_recipe(tmp_path, starts, folded):
    runs = [record_of(write_run(tmp_path, str(n), seed=n, **start)) for n, start in enumerate(starts)]
    assert len(fold_seeds(runs)) == (1 if folded else 2)


def test_run_without_config_is_a_separate_recipe(tmp_path):
    for name in "ab":
        (write_run(tmp_path, name) / "config.yaml").unlink()
    assert len(fold_seeds([record_of(tmp_path / name) for name in "ab"])) == 2


def test_recipe_without_result_is_not_ranked(tmp_path):
    (recipe,) = fold_seeds([record_of(write_run(tmp_path, "a", status=None, steps=0))])
    assert recipe.mean("mean_r1") is None
    assert best_first([recipe]) == []


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path, "a", r1=30.0, began=3.0, config={"name": "targeted", "tags": ["x"], "loss": {"margin": 0.3}})
    write_run(tmp_path, "b", r1=10.0, began=1.0, config={"name": "targeted_2", "loss": {"margin": "auto"}}, sweep="s")
    write_run(tmp_path, "c", steps=0, status="failed", began=2.0, config={"name": "sgraf", "loss": {"margin": 0.1}})
    return [record_of(tmp_path / name) for name in "abc"]


def ids(runs):
    return "".join(run.run_id for run in runs)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, "abc"),
        ({"name": "targeted"}, "a"),
        ({"name": "targeted*"}, "ab"),
        ({"tag": "x"}, "a"),
        ({"sweep": "s"}, "b"),
        ({"status": "failed"}, "c"),
        ({"name": "targeted*", "status": "failed"}, ""),
    ],
)
def test_select_runs_combines_filters(runs, wanted, found):
    assert ids(select_runs(runs, **wanted)) == found


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("started", "bca"),
        ("-started", "acb"),
        ("-mean_r1", "abc"),
        ("mean_r1", "bac"),
        ("loss.margin", "cab"),
        ("status", "cab"),
    ],
)
def test_sort_runs_puts_missing_values_last(runs, order, found):
    assert ids(sort_runs(runs, order)) == found


def test_exception_unknown_sort_key(runs):
    with pytest.raises(ConfigError, match=r"sort=-margin: no run has it; allowed: started.*loss\.margin"):
        sort_runs(runs, "-margin")
