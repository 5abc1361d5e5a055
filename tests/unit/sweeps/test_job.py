import json
import os
import signal

import pytest

from tangka_match.errors import ConfigError, TrainingError
from tangka_match.sweeps.folder import open_sweep
from tangka_match.sweeps.job import died_without_end, is_full_disk, is_retryable, read_run_metrics, run_job
from tangka_match.training.plan import SweepJob
from tangka_match.training.stopping import StopRequest


def write_run(folder, times):
    (folder / "result.json").write_text(json.dumps({"val_metrics": {"mean_r1": 3.5}, "num_parameters": 17}))
    lines = [{"event": "metrics", "time": t, "step": s, "epoch": 0, "values": {"train/loss": 1}} for s, t in times]
    (folder / "ledger.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


def test_step_seconds_is_the_median_between_logged_steps(tmp_path):
    write_run(tmp_path, [(0, 10.0), (10, 11.0), (20, 12.5), (30, 99.0)])  # 0.1, 0.15, and the pause of a resumed run
    assert read_run_metrics(tmp_path) == {"mean_r1": 3.5, "parameters": 17.0, "step_seconds": pytest.approx(0.15)}


def test_run_that_logged_once_has_no_step_seconds(tmp_path):
    write_run(tmp_path, [(0, 10.0)])
    assert read_run_metrics(tmp_path) == {"mean_r1": 3.5, "parameters": 17.0}


@pytest.mark.parametrize("text", ["{", "[]", '{"val_metrics": 3}', "{}"])
def test_damaged_result_is_refused(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(TrainingError, match=rf"{tmp_path}/result\.json: not the result of a run .*delete the folder"):
        read_run_metrics(tmp_path)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (None, False),
        ({"status": "finished"}, False),
        ({"status": "pruned"}, False),
        ({"status": "failed"}, True),
        ({"status": "failed", "users_mistake": True}, False),
        ({"status": "failed", "full_disk": True}, False),
    ],
)
def test_only_crashed_jobs_are_retryable(end, expected):
    assert is_retryable(end) is expected


def test_full_disk_is_recognised_in_error_and_its_cause():
    full = OSError(28, "No space left on device")
    wrapped = RuntimeError("cannot write")
    wrapped.__cause__ = full
    assert is_full_disk(full)
    assert is_full_disk(wrapped)
    assert not is_full_disk(OSError(2, "No such file"))
    assert not is_full_disk("exit code 1")


def test_settings_refused_in_the_job_are_its_error(tmp_path):
    folder = open_sweep(tmp_path, None, "study", {}).folder

    def make_plans():
        raise ConfigError("ema_decay and swa_begin contradict each other")

    run_job(folder, SweepJob("s", 3, ()), make_plans, any_commit=False)
    end = folder.manifest.read().jobs[3].end
    assert end["error"] == "ConfigError: ema_decay and swa_begin contradict each other"
    assert not is_retryable(end)


def test_job_that_is_stopped_but_not_requeued_is_no_failure(tmp_path):
    """submitit's handler, called when the run has stopped, refuses to requeue; or ``scontrol`` fails."""
    folder = open_sweep(tmp_path, None, "study", {}).folder

    def refuse(number, frame):
        raise RuntimeError("Job not requeued because: timed-out too many times.")

    def make_plans():
        with StopRequest().listening():
            os.kill(os.getpid(), signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, refuse)
    try:
        with pytest.raises(RuntimeError, match="timed-out too many times"):  # submitit records it
            run_job(folder, SweepJob("s", 3, ()), make_plans, any_commit=False)
    finally:
        signal.signal(signal.SIGUSR2, before)
    end = folder.manifest.read().jobs[3].end
    assert end["status"] == "stopped"
    assert end["error"] == "RuntimeError: Job not requeued because: timed-out too many times."


def test_process_that_ended_before_its_run_keeps_its_error():
    assert died_without_end(TrainingError("a=1: no such setting"))["error"].endswith("a=1: no such setting")
    assert died_without_end("exit code -9")["error"].endswith("(exit code -9): killed, or out of memory?")
