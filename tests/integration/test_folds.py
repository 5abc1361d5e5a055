"""Cross-validation through the command line: folds in a grid, pooled by ``compare``."""

import csv
import json

import pytest

from helpers.cli import run_cli_in_process
from tangka_match.compare import main as compare

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
