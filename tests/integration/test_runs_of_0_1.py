"""Runs, sweeps and checkpoints written by version 0.1 are loaded, evaluated, listed, resumed and continued.

Results are bitwise equal only on the same kind of machine, so scores and losses are compared within 1e-4, and recalls
within one of forty queries.
"""

import hashlib
import json
import re

import numpy as np
import pytest

import tangka_match
from helpers.cli import run_cli_in_process
from helpers.runs_of_0_1 import FIXTURE, expected, plant, run_of
from tangka_match.compare import main as compare
from tangka_match.demo_data import main as demo_data
from tangka_match.evaluate import main as evaluate
from tangka_match.report import main as report
from tangka_match.runs import main as runs

SCORE, QUERY = 1e-4, 2.5
MODELS = ("finished", "sgraf_sgr", "cca")
EXPECTED = expected()
METRIC = re.compile(r"(i2t|t2i|mean|rsum)\w*")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Write the small demo set with the command, and return the folder for ``paths.data``."""
    folder = tmp_path_factory.mktemp("data")
    words = ("data=demo_small", "data.writer.thumbnails=false", f"paths.data={folder}")
    done = run_cli_in_process(*words, main=demo_data)
    assert done.code == 0, done.stderr
    return folder


@pytest.fixture
def root(data, tmp_path):
    """Copy the fixture, so that a test may change it."""
    plant(tmp_path / "root", data)
    return tmp_path / "root"


def places(root):
    return (f"paths.data={root / 'data'}", f"paths.runs={root / 'runs'}", f"paths.checkpoints={root / 'checkpoints'}")


def succeed(*words, **how):
    done = run_cli_in_process(*words, **how)
    assert done.code == 0, done.stderr
    return done


def assert_same_metrics(found, wanted):
    """Assert that recalls and ranks are equal within one query, and the sum of six recalls within one query of each."""
    names = [name for name in wanted if METRIC.fullmatch(name)]
    assert names
    for name in names:
        tolerance = 6 * QUERY if name.startswith("rsum") else QUERY
        assert found[name] == pytest.approx(wanted[name], abs=tolerance), name


def test_fixture_is_small():
    assert sum(path.stat().st_size for path in FIXTURE.rglob("*") if path.is_file()) < 2_000_000


def test_demo_set_equals_the_training_data_of_version_0_1(data):
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((data / "demo_small").iterdir())
        if path.suffix in (".npy", ".txt")
    }
    assert found == EXPECTED["data"]["sha256"]


@pytest.mark.parametrize("name", MODELS)
def test_loaded_checkpoint_gives_the_same_scores(root, name):
    matcher = tangka_match.load(next((root / "checkpoints" / name).glob("*/best.ckpt")))
    split = root / "data" / "demo_small"
    regions = np.load(split / "dev_ims.npy").astype(np.float32)
    captions = (split / "dev_caps.txt").read_text("utf-8").splitlines()
    scores = matcher.similarity(regions, captions)
    before = np.load(root / "evaluations" / name / "similarity.npy")
    np.testing.assert_allclose(np.asarray(scores), before, atol=SCORE, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_evaluated_checkpoint_gives_the_metrics_of_training(root, tmp_path, name):
    out, before = tmp_path / "out", root / "evaluations" / name
    best = next((root / "checkpoints" / name).glob("*/best.ckpt"))
    words = (f"checkpoint={best}", f"data.root={root / 'data' / 'demo_small'}", "split=val", f"out={out}")
    succeed(*words, main=evaluate)
    np.testing.assert_allclose(np.load(out / "similarity.npy"), np.load(before / "similarity.npy"), atol=SCORE, rtol=0)
    found = json.loads((out / "metrics.json").read_text("utf-8"))
    wanted = EXPECTED["evaluate"][name]
    assert wanted["metrics"].keys() <= found.keys(), "keys on disk do not change"
    assert_same_metrics(found, wanted["training"])
    assert_same_metrics(found, {key: value for key, value in wanted["metrics"].items() if isinstance(value, float)})
    succeed(f"a={before}", f"b={out}", f"out={tmp_path / 'found.json'}", "resamples=1000", main=compare)
    compared = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert compared["metrics"]["mean_r1"]["difference"] == pytest.approx(0.0, abs=QUERY)


def test_runs_are_listed_and_shown(root):
    folder = f"runs={root / 'runs'}"
    grid = next(path.name for path in (root / "runs" / "sweeps").iterdir() if path.name != "rates")
    filters = {"limit=30": 8, "status=finished": 7, "status=stopped": 1, f"of_sweep={grid}": 2, "of_sweep=rates": 2}
    for word, count in filters.items():
        assert f", {count} shown" in succeed(folder, word, main=runs).stdout
    for name in MODELS:
        shown = succeed(folder, f"show={run_of(root, name).name}", main=runs).stdout
        assert "mean_r1" in shown
        assert "finished" in shown


def test_report_is_written(root, tmp_path):
    out = tmp_path / "report.html"
    done = succeed(f"runs={root / 'runs'}", f"out={out}", "resamples=1000", main=report)
    assert done.stdout.startswith("8 runs, 8 recipes")
    page = out.read_text("utf-8")
    assert '"status":"stopped"' in page
    assert all(path.parent.name in page for path in (root / "runs").glob("*/ledger.jsonl"))


def test_resumed_run_equals_an_uninterrupted_one(root):
    run = run_of(root, "stopped")
    assert not (run / "result.json").exists()
    succeed(f"resume={run.name}", *places(root))
    found = json.loads((run / "result.json").read_text("utf-8"))
    wanted = EXPECTED["resume"]
    assert found.keys() >= wanted["result"].keys(), "keys on disk do not change"
    for name in ("best_step", "total_steps", "num_parameters", "data_fingerprint", "vocabulary_fingerprint"):
        assert found[name] == wanted["result"][name], name
    assert_same_metrics(found["val_metrics"], wanted["result"]["val_metrics"])
    for step, values in losses(run).items():
        for name, value in values.items():
            assert value == pytest.approx(wanted["metrics"][step][name], abs=SCORE), (step, name)
    assert losses(run).keys() == wanted["metrics"].keys()


def losses(run):
    """Return the training and validation losses by epoch and step."""
    found = {}
    for event in map(json.loads, (run / "ledger.jsonl").read_text("utf-8").splitlines()):
        if event["event"] == "metrics":
            values = {name: value for name, value in event["values"].items() if name.endswith("/loss")}
            found.setdefault(f"{event['epoch']}/{event['step']}", {}).update(values)
    return found


def test_grid_reuses_finished_runs(root):
    before = {path.name for path in (root / "runs").iterdir()}
    done = succeed(*EXPECTED["commands"]["grid"], *places(root), "sweep.any_commit=true")
    assert "2 jobs, 2 finished before, 0 to go" in done.stdout
    assert {path.name for path in (root / "runs").iterdir()} == before


def test_study_continues_after_its_finished_trials(root):
    before = {path.name for path in (root / "runs").iterdir()}
    words = [word for word in EXPECTED["commands"]["study"] if not word.startswith("sweep.n_trials")]
    done = succeed(*words, *places(root), "sweep.n_trials=3", "sweep.any_commit=true")
    assert "2 of 3 trials done" in done.stdout
    assert len({path.name for path in (root / "runs").iterdir()} - before) == 1
