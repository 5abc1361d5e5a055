import pytest

from helpers.records import record_of
from helpers.run_folders import SMALL, write_run
from tangka_match.analysis.curves import thin_curves
from tangka_match.analysis.report.payload import CLOCK_POINTS, Report, report_blocks
from tangka_match.analysis.report.verdicts import compare_with_best
from tangka_match.analysis.runs.selection import fold_seeds
from tangka_match.records.run_files import read_run_files


def blocks_of(tmp_path, *folders, out="report.html"):
    recipes = fold_seeds([record_of(folder) for folder in folders])
    curves = {folder: thin_curves(read_run_files(folder, with_curves=True).curves, len(folders)) for folder in folders}
    report = Report(tmp_path, recipes, curves, compare_with_best(recipes, 20, 1000), 5.0)
    return report_blocks(report, tmp_path / out)


def test_setting_values_match_the_order_of_names(tmp_path):
    one = write_run(tmp_path, "a", config={"loss": {"margin": 0.1}, "optimizer": {"lr": 1e-4, "betas": [0.9, 0.99]}})
    other = write_run(tmp_path, "b", overrides=["optimizer.lr=5e-4"])
    report = blocks_of(tmp_path, one, other)["report"]
    assert report["settings"] == ["loss.margin", "optimizer.lr", "optimizer.betas", "loss._target_"]
    assert report["runs"][0]["settings"] == [0.1, 1e-4, "[0.9,0.99]", None]
    assert report["runs"][1]["settings"] == [0.2, 5e-4, None, "TripletMarginLoss"]
    assert report["columns"][0] == {"key": "optimizer.lr", "name": "lr", "swept": True}
    assert report["same"] == 8


def test_links_are_relative_to_the_page(tmp_path):
    folder = write_run(tmp_path / "runs", "实验 #1")
    (run,) = blocks_of(tmp_path, folder, out="pages/report.html")["report"]["runs"]
    assert run["href"] == "../runs/%E5%AE%9E%E9%AA%8C%20%231/"


def test_one_curve_block_per_metric(tmp_path):
    one, other = write_run(tmp_path, "a", steps=4), write_run(tmp_path, "b", seed=1, steps=0)
    blocks = blocks_of(tmp_path, one, other)
    place = blocks["report"]["curves"].index("train/loss")
    assert list(blocks[f"curves-{place}"]()) == ["0"]
    assert blocks[f"curves-{place}"]()["0"][0] == [2, 4]
    assert [run["recipe"] for run in blocks["report"]["runs"]] == [0, 0]


def test_clock_is_subsampled_and_keeps_its_end(tmp_path):
    (run,) = blocks_of(tmp_path, write_run(tmp_path, "a", steps=1000, step_seconds=2.0))["report"]["runs"]
    steps, seconds = run["clock"]
    assert len(steps) <= CLOCK_POINTS
    assert (steps[-1], seconds[-1]) == (1000, pytest.approx(2000, abs=0.2))
    assert run["stepSeconds"] == pytest.approx(2.0, rel=0.05)


def test_verdicts_refer_to_run_numbers(tmp_path):
    runs = [write_run(tmp_path, n, r1=r, config={"loss": {"margin": r}}, ranks=True) for n, r in (("a", 20), ("b", 70))]
    (verdict,) = blocks_of(tmp_path, *runs)["report"]["verdicts"]
    assert (verdict["a"], verdict["b"], verdict["better"]) == ([1], [0], "a")
    assert verdict["difference"]["difference"] == -50.0


def write_folds(tmp_path, recipes, folds=3, seeds=(0,)):
    """Write the folds of recipes ``{margin: r1}``, each held-out fold with the same queries."""
    return [
        write_run(
            tmp_path, f"m{margin}-f{fold}-s{seed}", r1=r1 + fold, seed=seed, ranks=True, data_fingerprint=f"f{fold}",
            config={"loss": {"margin": margin}, "data": {**SMALL["data"], "folds": folds, "fold": fold}},
        )
        for margin, r1 in recipes.items() for seed in seeds for fold in range(folds)
    ]  # fmt: skip


def test_folds_are_pooled_with_an_interval(tmp_path):
    report = blocks_of(tmp_path, *write_folds(tmp_path, {0.1: 20.0, 0.3: 50.0}))["report"]
    assert [run["recipe"] for run in report["runs"]] == [0, 0, 0, 1, 1, 1]
    (pooled,) = report["pooled"]["0"]
    assert (pooled["folds"], pooled["images"]) == (3, 300)
    assert pooled["metrics"]["mean_r1"] == pytest.approx(21.0)
    low, high = pooled["intervals"]["mean_r1"]
    assert 15.0 < low < 20.0
    assert 22.0 < high < 27.0
    (verdict,) = report["verdicts"]
    assert (verdict["a"], verdict["b"], verdict["better"]) == ([3, 4, 5], [0, 1, 2], "a")
    assert verdict["difference"]["difference"] == pytest.approx(-30.0)


def test_each_seed_of_folds_is_one_sample(tmp_path):
    report = blocks_of(tmp_path, *write_folds(tmp_path, {0.1: 20.0, 0.3: 50.0}, seeds=(0, 1)))["report"]
    assert [len(report["pooled"][recipe]) for recipe in "01"] == [2, 2]
    assert report["verdicts"][0]["better"] == "a"


def test_runs_without_folds_are_not_pooled(tmp_path):
    assert blocks_of(tmp_path, write_run(tmp_path, "a", ranks=True))["report"]["pooled"] == {}


def test_recipes_with_different_folds_are_not_compared(tmp_path):
    *kept, left_out = write_folds(tmp_path, {0.1: 20.0, 0.3: 50.0})
    (verdict,) = blocks_of(tmp_path, *kept)["report"]["verdicts"]
    assert verdict["difference"] is None
    assert "a has the folds [0, 1] of 3, b has [0, 1, 2] of 3" in verdict["reason"]
    assert left_out not in kept


def recipes_of(tmp_path, *runs):
    for number, (r1, margin, seed, options) in enumerate(runs):
        write_run(
            tmp_path, f"r{number}", r1=r1, seed=seed, config={"loss": {"margin": margin}}, **{"ranks": True, **options}
        )
    return fold_seeds([record_of(tmp_path / f"r{number}") for number in range(len(runs))])


def compare(recipes, most=20):
    return compare_with_best(recipes, most, 1000)


def ids(runs):
    return [run.run_id for run in runs]


def test_single_runs_are_compared_with_the_best_single_run(tmp_path):
    verdicts = compare(recipes_of(tmp_path, (30, 0.1, 0, {}), (80, 0.2, 1, {}), (78, 0.3, 2, {})))
    assert [(ids(v.a), ids(v.b), v.better) for v in verdicts] == [(["r1"], ["r2"], None), (["r1"], ["r0"], "a")]
    assert verdicts[1].found.difference == -50.0


def test_several_seeds_are_compared_with_several_seeds(tmp_path):
    several = [(r1, margin, seed, {}) for r1, margin in ((30, 0.1), (80, 0.2)) for seed in range(3)]
    (verdict,) = compare(recipes_of(tmp_path, *several, (90, 0.3, 0, {})))
    assert (ids(verdict.a), ids(verdict.b), verdict.better) == (["r3", "r4", "r5"], ["r0", "r1", "r2"], "a")


def test_seed_without_ranks_is_ignored(tmp_path):
    several = [(r1, m, seed, {}) for r1, m in ((30, 0.1), (80, 0.2)) for seed in range(2)]
    unfinished = (30, 0.1, 2, {"ranks": False, "status": "failed"})
    (verdict,) = compare(recipes_of(tmp_path, *several, unfinished))
    assert ids(verdict.b) == ["r0", "r1"]


def test_pruned_run_is_not_compared(tmp_path):
    assert compare(recipes_of(tmp_path, (30, 0.1, 0, {"status": "pruned"}), (80, 0.2, 1, {}))) == []


def test_different_data_are_not_compared(tmp_path):
    assert compare(recipes_of(tmp_path, (30, 0.1, 0, {}), (80, 0.2, 1, {"data_fingerprint": "beef"}))) == []


def test_number_of_comparisons_is_limited(tmp_path):
    recipes = recipes_of(tmp_path, *((30 + n, n / 10, n, {}) for n in range(4)))
    assert [ids(v.b) for v in compare(recipes, most=2)] == [["r2"], ["r1"]]
    assert compare(recipes, most=0) == []


def test_damaged_rank_table_is_reported_as_reason(tmp_path):
    recipes = recipes_of(tmp_path, (30, 0.1, 0, {}), (80, 0.2, 1, {}))
    (tmp_path / "r0" / "ranks.csv").write_text("direction,query,image,rank\ni2t,x,x,first\n")
    (verdict,) = compare(recipes)
    assert (verdict.found, verdict.better) == (None, None)
    assert "line 2 has rank 'first'" in verdict.reason
