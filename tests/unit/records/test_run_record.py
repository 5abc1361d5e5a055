import json
from pathlib import Path

import pytest

from helpers.records import record_of
from helpers.run_folders import BEGAN, write_run
from tangka_match.records.history import History
from tangka_match.records.run_files import RunFiles
from tangka_match.records.run_record import RunRecord, damage, make_record


def run_of(*events, held=False) -> RunRecord:
    history = History()
    for event in events:
        history.add(event)
    return make_record(RunFiles(Path("runs/a"), history, 0, {}, {}, {}, held, has_ranks=False, problems=()))


def metrics(time, step, **values):
    return {"event": "metrics", "time": time, "step": step, "epoch": 0, "values": values}


def test_record_of_finished_run(tmp_path):
    run = record_of(
        write_run(tmp_path, "a", r1=30.0, seed=3, sweep="s1", job=4, overrides=["seed=3"], num_parameters=7)
    )
    assert (run.run_id, run.name, run.status, run.seed) == ("a", "targeted", "finished", 3)
    assert (run.sweep, run.job, run.overrides, run.num_parameters) == ("s1", 4, ("seed=3",), 7)
    assert run.metrics["mean_r1"] == 30.0
    assert run.metrics["rsum"] == pytest.approx(2 * (30 + 60 + 72))
    assert run.intervals["mean_r1"] == (26.0, 34.0)
    assert (run.steps, run.best_step, run.queries) == (40, 40, (100, 100))
    assert run.config["loss.margin"] == 0.2
    assert (run.started, run.seconds) == (BEGAN, 41.0)
    assert run.clock.seconds_per_step() == pytest.approx(1.0, rel=0.1)


def test_unfinished_run_has_metrics_of_best_validation_so_far(tmp_path):
    folder = write_run(tmp_path, "a", status=None)
    with (folder / "ledger.jsonl").open("a") as ledger:
        ledger.write(json.dumps(metrics(BEGAN + 60, 49, **{"val/mean_r1": 12.0, "val/rsum": 99.0})) + "\n")
    run = record_of(folder)
    assert (run.metrics["mean_r1"], run.best_step, run.intervals) == (pytest.approx(30.0), 40, {})
    assert run.steps == 50


def test_non_finite_validation_is_never_the_best():
    run = run_of(metrics(0, 0, **{"val/mean_r1": 5.0}), metrics(1, 1, **{"val/mean_r1": float("nan")}))
    assert (run.metrics, run.best_step) == ({"mean_r1": 5.0}, 1)


START, RESUME = {"event": "start", "time": 0}, {"event": "resume", "time": 50, "step": 3}


@pytest.mark.parametrize(
    ("events", "held", "status"),
    [
        ([START, {"event": "end", "time": 9, "status": "failed"}], False, "failed"),
        ([START], True, "running"),
        ([START], False, "killed"),
        ([START, {"event": "end", "time": 9, "status": "stopped"}, RESUME], True, "running"),
        ([START, {"event": "end", "time": 9, "status": "stopped"}, RESUME], False, "killed"),
        ([], False, "killed"),
    ],
)
def test_status_is_that_of_the_last_start_or_resume(events, held, status):
    assert run_of(*events, held=held).status == status


def test_time_between_stop_and_resume_is_not_counted():
    run = run_of(
        START, metrics(10, 4), {"event": "end", "time": 11, "status": "stopped"},
        {"event": "resume", "time": 5000, "step": 5}, metrics(5010, 9),
    )  # fmt: skip
    assert run.seconds == 21
    assert (run.clock.steps.tolist(), run.clock.seconds.tolist()) == ([5, 10], [10, 21])


def test_malformed_results_are_skipped_and_named(tmp_path):
    folder = write_run(tmp_path, "a")
    (folder / "result.json").write_text('{"val_metrics": {"rsum": "much", "mean_r1": 7}, "val_ci95": {"mean_r1": [1]}}')
    run = record_of(folder)
    assert (run.metrics["mean_r1"], run.intervals) == (pytest.approx(30.0), {}), "those of the best validation"
    named = "a/result.json: val_metrics.rsum='much': Input should be a valid number"
    assert damage([run]) == [f"1 unreadable file skipped: {named}"]


def test_damage_names_three_files_and_counts_the_others(tmp_path):
    runs = [record_of(write_run(tmp_path, name)) for name in "abcde"]
    assert damage(runs) == []
    for run in runs:
        (run.path / "ledger.jsonl").write_text("torn\n")
        (run.path / "environment.json").write_text("[]")
    runs = [record_of(run.path) for run in runs]
    assert damage(runs) == [
        "5 unreadable ledger lines and 5 unreadable files skipped: "
        "a/ledger.jsonl, b/ledger.jsonl, c/ledger.jsonl, and 7 more"
    ]
