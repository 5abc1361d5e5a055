"""Cross-validation through the command line: folds in a grid, pooled by ``compare``."""

import csv
import json

import pytest

from helpers.cli import run_cli_in_process
from tangka_match.compare import main as compare
from tangka_match.diagnose import main as diagnose

from .conftest import places

FOLDS = 3


def train_folds(demo_data, folder, *words):
    """Train all folds of a recipe in a grid, and return the finished command."""
    return run_cli_in_process(
        "-m",
        "+experiment=best",
        "data=demo_small",
        f"data.folds={FOLDS}",
        f"data.fold=range({FOLDS})",
        "logger=none",
        "trainer=cpu",
        "callbacks=none",
        "model.embed_dim=16",
        *words,
        *places(demo_data, folder),
    )


@pytest.fixture(scope="module")
def trained(demo_data, tmp_path_factory):
    """Train the folds of two recipes, which differ in the learning rate, in a folder of runs."""
    folder = tmp_path_factory.mktemp("folds")
    done = [
        train_folds(demo_data, folder, f"sweep.name={name}", f"optimizer.lr={lr}")
        for name, lr in (("a", 1e-6), ("b", 0.5))
    ]
    for finished in done:
        assert finished.code == 0, finished.stdout + finished.stderr
    return folder / "runs", done


def results(runs):
    paths = sorted(runs.glob("*/result.json"))
    return [(path.parent, json.loads(path.read_text("utf-8"))) for path in paths]


def test_each_run_records_the_held_out_fold(trained):
    runs, _ = trained
    for run, result in results(runs):
        held_out = result["held_out"]
        assert held_out["folds"] == FOLDS
        with (run / "ranks.csv").open(encoding="utf-8", newline="") as file:
            ranks = [int(row["rank"]) for row in csv.DictReader(file) if row["direction"] == "i2t"]
        assert len(ranks) == held_out["num_images"]
        assert held_out["metrics"]["i2t_r1"] == pytest.approx(100 * ranks.count(1) / len(ranks))
        low, high = held_out["ci95"]["mean_r1"]
        assert low <= held_out["metrics"]["mean_r1"] <= high
    sizes = [result["held_out"]["num_images"] for _, result in results(runs)[:FOLDS]]
    assert sum(sizes) == 200


def test_folds_hold_out_every_image_once(trained):
    runs, _ = trained
    seen = []
    for run, _ in results(runs)[:FOLDS]:
        with (run / "ranks.csv").open(encoding="utf-8", newline="") as file:
            seen += [row["image"] for row in csv.DictReader(file) if row["direction"] == "i2t"]
    assert len(seen) == len(set(seen)) == 200


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data.folds=3", "data.fold=3"), "data.fold=3 must be in 0 … 2"),
        (("data.fold=1",), "data.fold=1 needs data.folds="),
        (("data.folds=3",), "data.fold=None must be in 0 … 2"),
        (("data.folds=101", "data.fold=0"), "data.folds=101: train and val have 200 images"),
        (("data.exclude=absent.txt",), "absent.txt: no such file"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(demo_data, tmp_path, words, message):
    done = run_cli_in_process("+experiment=debug", "data=demo_small", *words, *places(demo_data, tmp_path))
    assert done.code == 2
    assert message in done.stderr
    assert not (tmp_path / "runs").exists()


def test_diagnose_refuses_folds(demo_data, tmp_path):
    words = ("data=demo_small", "data.folds=3", f"out={tmp_path / 'out'}", *places(demo_data, tmp_path))
    done = run_cli_in_process(*words, main=diagnose)
    assert done.code == 2
    assert "data.folds=3: only train holds out folds" in done.stderr


def compared(runs, tmp_path, *words):
    done = run_cli_in_process(
        *words, f"paths.runs={runs}", "resamples=1000", f"out={tmp_path / 'found.json'}", main=compare
    )
    return done, json.loads((tmp_path / "found.json").read_text("utf-8")) if done.code == 0 else None


def pooled_mean_r1(runs, ids):
    """Compute mean R@1 over the rows of several tables of ranks."""
    ranks = {"i2t": [], "t2i": []}
    for run in ids:
        with (runs / run / "ranks.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                ranks[row["direction"]].append(int(row["rank"]))
    return sum(100 * found.count(1) / len(found) for found in ranks.values()) / 2


def test_two_sweeps_are_compared_over_the_queries_of_all_folds(trained, tmp_path):
    runs, _ = trained
    done, found = compared(runs, tmp_path, "a=a", "b=b")
    assert done.code == 0, done.stderr
    assert (found["images"], found["captions"], found["folds"]) == (200, 200, "3 folds")
    assert "200 images, 200 captions, pooled over 3 folds" in done.stdout
    ids = [path.name for path, _ in results(runs)]
    values = found["metrics"]["mean_r1"]
    assert values["a"] == pytest.approx(pooled_mean_r1(runs, ids[:FOLDS]))
    assert values["b"] == pytest.approx(pooled_mean_r1(runs, ids[FOLDS:]))
    assert found["verdict"]["better"] == "a"


def test_folds_that_differ_are_an_error(trained, tmp_path):
    runs, _ = trained
    ids = [path.name for path, _ in results(runs)]
    done, _ = compared(runs, tmp_path, f"a=[{','.join(ids[:2])}]", "b=b")
    assert done.code == 2
    assert "a has the folds [0, 1] of 3, b has [0, 1, 2] of 3" in done.stderr
    done, _ = compared(runs, tmp_path, f"a=[{ids[0]},{ids[FOLDS + 1]}]", "b=b")
    assert "a: optimizer.lr is 1e-06 in run" in done.stderr


def test_grid_ends_with_the_pooled_result(trained):
    runs, done = trained
    ids = [path.name for path, _ in results(runs)][:FOLDS]
    pooled = pooled_mean_r1(runs, ids)
    lines = done[0].stdout.splitlines()
    start = next(number for number, line in enumerate(lines) if "held-out folds, all queries pooled" in line)
    assert any(f"{pooled:.2f}" in line and "3 folds" in line for line in lines[start:])
    events = [json.loads(line) for line in (runs / "sweeps" / "a" / "manifest.jsonl").read_text("utf-8").splitlines()]
    (row,) = events[-1]["pooled"]
    assert (row["folds"], row["of"], row["images"], row["runs"]) == ([0, 1, 2], 3, 200, ids)
    assert row["metrics"]["mean_r1"] == pytest.approx(pooled)
    low, high = row["interval"]["mean_r1"]
    widths = [result["held_out"]["ci95"]["mean_r1"] for _, result in results(runs)[:FOLDS]]
    assert low < pooled < high
    assert high - low < min(top - bottom for bottom, top in widths)
