import pytest

from helpers.records import record_of
from helpers.run_folders import write_run
from tangka_match.analysis.report.curves import read_curves
from tangka_match.analysis.report.payload import CLOCK_POINTS, Report, report_blocks
from tangka_match.analysis.report.verdicts import compare_with_best
from tangka_match.analysis.runs.seeds import fold_seeds
from tangka_match.training.records.run_files import read_run_files


def blocks_of(tmp_path, *folders, out="report.html"):
    recipes = fold_seeds([record_of(folder) for folder in folders])
    curves = {folder: read_curves(read_run_files(folder).events, len(folders)) for folder in folders}
    report = Report(tmp_path, recipes, curves, compare_with_best(recipes, 20, 1000), 5.0)
    return report_blocks(report, tmp_path / out)


def test_settings_stand_in_the_order_of_their_names(tmp_path):
    one = write_run(tmp_path, "a", config={"loss": {"margin": 0.1}, "optimizer": {"lr": 1e-4, "betas": [0.9, 0.99]}})
    other = write_run(tmp_path, "b", overrides=["optimizer.lr=5e-4"])
    report = blocks_of(tmp_path, one, other)["report"]
    assert report["settings"] == ["loss.margin", "optimizer.lr", "optimizer.betas", "loss._target_"]
    assert report["runs"][0]["settings"] == [0.1, 1e-4, "[0.9,0.99]", None]
    assert report["runs"][1]["settings"] == [0.2, 5e-4, None, "TripletMarginLoss"]
    assert report["columns"][0] == {"key": "optimizer.lr", "name": "lr", "swept": True}
    assert report["same"] == 8


def test_links_go_from_the_page_to_the_folder(tmp_path):
    folder = write_run(tmp_path / "runs", "实验 #1")
    (run,) = blocks_of(tmp_path, folder, out="pages/report.html")["report"]["runs"]
    assert run["href"] == "../runs/%E5%AE%9E%E9%AA%8C%20%231/"


def test_a_block_a_metric_and_runs_by_their_numbers(tmp_path):
    one, other = write_run(tmp_path, "a", steps=4), write_run(tmp_path, "b", seed=1, steps=0)
    blocks = blocks_of(tmp_path, one, other)
    place = blocks["report"]["curves"].index("train/loss")
    assert list(blocks[f"curves-{place}"]) == ["0"]
    assert blocks[f"curves-{place}"]["0"][0] == [2, 4]
    assert [run["recipe"] for run in blocks["report"]["runs"]] == [0, 0]


def test_the_clock_is_thinned_and_keeps_its_end(tmp_path):
    (run,) = blocks_of(tmp_path, write_run(tmp_path, "a", steps=1000, step_seconds=2.0))["report"]["runs"]
    steps, seconds = run["clock"]
    assert len(steps) <= CLOCK_POINTS
    assert (steps[-1], seconds[-1]) == (1000, pytest.approx(2000, abs=0.2))
    assert run["stepSeconds"] == pytest.approx(2.0, rel=0.05)


def test_verdicts_name_runs_by_their_numbers(tmp_path):
    runs = [write_run(tmp_path, n, r1=r, config={"loss": {"margin": r}}, ranks=True) for n, r in (("a", 20), ("b", 70))]
    (verdict,) = blocks_of(tmp_path, *runs)["report"]["verdicts"]
    assert (verdict["a"], verdict["b"], verdict["better"]) == ([1], [0], "a")
    assert verdict["difference"]["difference"] == -50.0
