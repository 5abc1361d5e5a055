"""``diagnose learning_curve=true`` through its command line."""

import json
import re

import pytest

from helpers.bad_input import assert_one_message
from helpers.cli import run_cli_in_process
from tangka_match.demo import write_demo_set
from tangka_match.diagnose import main

RECIPE = ["model=vse_tiny", "logger=none", "trainer=debug", "trainer.max_steps=3", "scheduler.warmup_steps=1"]
SETTINGS = ("curve.experiment=null", "curve.shares=[1,0.25,0.5]", "curve.seeds=[0,1]", "curve.target=60")


def command(folder, *words):
    quoted = ",".join(f"'{word}'" for word in RECIPE)
    return (
        "learning_curve=true",
        f"data.root={folder / 'set'}",
        f"out={folder / 'out'}",
        *(f"paths.{name}={folder / name}" for name in ("runs", "checkpoints")),
        "data.batch_size=16",
        f"curve.overrides=[{quoted}]",
        *SETTINGS,
        *words,
    )


def curve_of(folder):
    return json.loads((folder / "out" / "diagnosis.json").read_text("utf-8"))["sections"]["learning_curve"]


def trained(folder):
    """Return the names of the run folders, with the time of the last write to each ledger."""
    return {run.name: (run / "ledger.jsonl").stat().st_mtime_ns for run in (folder / "runs").iterdir()}


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curve")
    write_demo_set(folder / "set", train=64, val=12, test=12, thumbnails=False)
    return folder, run_cli_in_process(*command(folder), main=main)


def test_points_are_ordinary_runs_on_shares_of_train(curve):
    folder, done = curve
    assert done.code == 0, done.stderr
    points = curve_of(folder)["values"]["points"]
    assert [(point["share"], point["pairs"], len(point["runs"])) for point in points] == [
        (0.25, 16, 2),
        (0.5, 32, 2),
        (1.0, 64, 2),
    ]
    for point in points:
        for seed, run in enumerate(point["runs"]):
            config = (folder / "runs" / run / "config.yaml").read_text("utf-8")
            assert f"train_share: {point['share']}" in config
            assert f"\nseed: {seed}\n" in config
            assert "- learning_curve" in config
            assert (folder / "runs" / run / "curves.png").is_file()
            recall = json.loads((folder / "runs" / run / "result.json").read_text("utf-8"))["val_metrics"]["mean_r1"]
            assert point["recalls"][seed] == pytest.approx(recall)


def test_estimate_is_in_the_terminal_and_on_the_page(curve):
    folder, done = curve
    assert "learning curve, run 6 of 6: 100 % of train, seed 1" in done.stdout
    assert "pairs for 60 %" in done.stdout
    page = (folder / "out" / "diagnosis.html").read_text("utf-8")
    assert re.search(r"<h2>Learning curve.*<polygon", page, re.DOTALL)
    codes = {finding["code"] for finding in curve_of(folder)["findings"]}
    assert codes & {"target_not_reachable", "target_open", "pairs_needed"}
    assert "curve_short_schedule" in codes  # three steps


def test_finished_runs_are_reused_and_stopped_ones_resumed(curve):
    folder, _ = curve
    before, answer = trained(folder), curve_of(folder)
    stopped = answer["values"]["points"][1]["runs"][0]
    ledger = folder / "runs" / stopped / "ledger.jsonl"
    lines = [line for line in ledger.read_text("utf-8").splitlines() if '"event": "end"' not in line]
    ledger.write_text("".join(line + "\n" for line in lines), "utf-8")  # as after a kill
    done = run_cli_in_process(*command(folder), main=main)
    assert done.code == 0, done.stderr
    assert done.stdout.count("is finished already and is reused") == 5
    after = trained(folder)
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == [stopped]
    assert curve_of(folder) == answer


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["curve.shares=[0.5,1]"], r"curve\.shares: .*needs at least 3"),
        (["curve.shares=[0.5,0.5,1]"], "must not repeat a value"),
        (["curve.seeds=[0]"], "curve.seeds"),
        (["curve.overrides=['seed=3']"], "curve.overrides: seed=3 is set by the curve itself"),
        (["curve.experiment=targetd"], "experiment=targetd"),
        (
            ["curve.experiment=best_ensemble"],
            "curve.experiment=best_ensemble is an ensemble of best, targeted: give one of them",
        ),
    ],
)
def test_user_error_gives_one_message(curve, words, message):
    folder, _ = curve
    before = trained(folder)
    done = run_cli_in_process(*command(folder, *words), main=main)
    assert_one_message(done, message)
    assert trained(folder) == before
