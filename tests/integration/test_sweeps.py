"""Sweeps through the command line on a tiny data set, in this process unless a process is to be killed."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from helpers.bad_input import SMALL, assert_one_message, contents, places
from helpers.cli import run_cli_in_process
from helpers.precomp import write_dataset
from tangka_match.errors import TrainingError
from tangka_match.evaluate import main as evaluate_main
from tangka_match.records.ledger import read_ledger
from tangka_match.retrieval.metadata import read_checkpoint
from tangka_match.sweeps import job as job_module
from tangka_match.sweeps import pool as pool_module
from tangka_match.sweeps.manifest import Manifest

TRIPLET = ("loss=triplet", "logger=none", "trainer.max_steps=-1", "trainer.max_epochs=1")
POOL = ("hydra/launcher=local_pool", "hydra.launcher.processes=2")
STUDY = ("hydra/sweeper=study", "optimizer.lr=tag(log,interval(1e-4,1e-2))")


@pytest.fixture
def words(tmp_path):
    write_dataset(tmp_path / "set")
    return (*SMALL, *TRIPLET, *places(tmp_path))


@pytest.fixture
def failing(monkeypatch):
    """Make runs fail; return the list of trained jobs, and the mapping from jobs to the errors they raise."""
    trained, errors, train = [], {}, job_module.train

    def train_or_fail(plan, resume=None, job=None):
        trained.append(job.number)
        if errors.get(job.number):
            raise errors[job.number].pop()
        return train(plan, resume=resume, job=job)

    monkeypatch.setattr(job_module, "train", train_or_fail)
    return trained, errors


def sweeps(folder):
    return sorted(path.parent for path in folder.glob("runs/sweeps/*/manifest.jsonl"))


def jobs_of(sweep):
    return Manifest(sweep / "manifest.jsonl").read().jobs


def test_failed_job_is_retried_and_does_not_stop_the_others(words, tmp_path, failing):
    trained, errors = failing
    errors |= {0: [RuntimeError("planted")], 1: [RuntimeError("planted")] * 2, 2: [TrainingError("not finite")]}
    grid = ("-m", *words, "loss.margin=0.1,0.2", "seed=0,1")
    done = run_cli_in_process(*grid)
    assert done.code == 2
    assert "TrainingError: 2 of 4 jobs failed; run the same command again to retry them:\n  job 1 (" in done.stderr
    assert re.search(r"job 1 .*RuntimeError: planted\n  job 2 .*TrainingError: not finite\n", done.stderr)
    assert sorted(trained) == [0, 0, 1, 1, 2, 3]  # user errors are not retried
    (sweep,) = sweeps(tmp_path)
    assert [jobs_of(sweep)[n].status for n in range(4)] == ["finished", "failed", "failed", "finished"]

    trained.clear()
    done = run_cli_in_process(*grid)
    assert (done.code, trained, sweeps(tmp_path)) == (0, [1, 2], [sweep])
    assert "4 jobs, 2 finished before, 2 to go" in done.stdout
    starts = [read_ledger(path)[0] for path in sorted(tmp_path.glob("runs/*/ledger.jsonl"))]
    assert {start["sweep"] for start in starts} == {sweep.name}
    assert sorted(start["job"] for start in starts) == [0, 1, 2, 3]
    assert {"loss.margin=0.1", "seed=0"} <= set(next(s for s in starts if s["job"] == 0)["overrides"])

    # an overlapping grid reuses finished runs, in a separate folder
    trained.clear()
    assert run_cli_in_process("-m", *words, "loss.margin=0.2,0.3", "seed=1").code == 0
    assert trained == [1]
    other = next(path for path in sweeps(tmp_path) if path != sweep)
    assert (jobs_of(other)[0].end["reused"], jobs_of(other)[0].end["runs"]) == (True, jobs_of(sweep)[3].end["runs"])


@pytest.mark.parametrize("resumable", [True, False], ids=["resumable", "without last.ckpt"])
def test_run_with_damaged_result_is_run_again(words, tmp_path, resumable):
    grid = ("-m", *words, "seed=0,1")
    assert run_cli_in_process(*grid).code == 0
    (sweep,) = sweeps(tmp_path)
    damaged = tmp_path / "runs" / jobs_of(sweep)[1].end["runs"][0]
    (damaged / "result.json").write_text("[" * 100_000)
    if not resumable:
        next(tmp_path.glob(f"checkpoints/*/{damaged.name}/last.ckpt")).unlink()
    done = run_cli_in_process(*grid)
    assert (done.code, sweeps(tmp_path)) == (0, [sweep]), done
    assert "2 jobs, 1 finished before, 1 to go" in done.stdout
    (run,) = jobs_of(sweep)[1].end["runs"]
    assert (run == damaged.name) is resumable
    assert jobs_of(sweep)[1].end["metrics"].keys() == jobs_of(sweep)[0].end["metrics"].keys()


def test_run_of_a_sweep_equals_a_single_run(words, tmp_path):
    assert run_cli_in_process("-m", *words, "seed=5").code == 0
    assert run_cli_in_process(*words, "seed=5", f"paths.checkpoints={tmp_path / 'single'}").code == 0
    swept, single = (
        read_checkpoint(next(tmp_path.glob(f"{name}/*/*/best.ckpt")))["state_dict"]
        for name in ("checkpoints", "single")
    )
    assert all(torch.equal(swept[key], single[key]) for key in swept)


def wait_for(condition, process):
    deadline = time.monotonic() + 150
    while not condition():
        assert process.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stopped_ledgers(folder):
    return [path for path in folder.glob("runs/*/ledger.jsonl") if '"step": 3' in path.read_text("utf-8")]


def ctrl_c_with_two_jobs_stopped(folder, *words):
    """Run a sweep in parallel, send Ctrl-C while two jobs train, check that both stop, and return the events."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes ignore Ctrl-C
    process = subprocess.Popen(
        [sys.executable, "-m", "tangka_match.train", *words, *POOL],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, handler)
    try:
        wait_for(lambda: len(stopped_ledgers(folder)) == 2, process)
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the group
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, output
    (sweep,) = sweeps(folder)
    for path in stopped_ledgers(folder):
        assert read_ledger(path)[-1]["status"] == "stopped"
    found = events_of(sweep)
    pids = [event["pid"] for event in found if event["event"] == "start"]
    assert len(pids) == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    return found


def events_of(sweep):
    return [json.loads(line) for line in (sweep / "manifest.jsonl").read_text("utf-8").splitlines()]


def numbers(events, kind):
    return [event["job"] for event in events if event["event"] == kind]


def test_parallel_grid_stops_on_ctrl_c_and_resumes(words, tmp_path):
    grid = ("-m", *words, "seed=0,1", "trainer.max_epochs=30")
    ctrl_c_with_two_jobs_stopped(tmp_path, *grid)
    (sweep,) = sweeps(tmp_path)
    assert [jobs_of(sweep)[n].status for n in (0, 1)] == ["stopped", "stopped"]
    assert (sweep / "jobs" / "0" / "output.log").read_text("utf-8").startswith("job 0 of sweep")

    stopped = {path.parent.name for path in stopped_ledgers(tmp_path)}
    done = run_cli_in_process(*grid)
    assert done.code == 0, done.stderr
    ends = [jobs_of(sweep)[n].end for n in (0, 1)]
    assert {end["runs"][0] for end in ends} == stopped
    assert all(end["resumed"] == end["runs"] for end in ends)
    assert all("resume" in {event["event"] for event in read_ledger(path)} for path in stopped_ledgers(tmp_path))


def test_parallel_study_stops_on_ctrl_c_and_reaches_its_total(words, tmp_path):
    study = ("-m", *words, *STUDY, "trainer.max_epochs=30", "sweep.n_trials=3", "sweep.pruner=none")
    events = ctrl_c_with_two_jobs_stopped(tmp_path, *study)
    started = numbers(events, "start")
    assert sorted(started) == [0, 1]
    assert sorted(numbers(events, "end")) == [0, 1], "a trial that was not started has no end"

    stopped = {path.parent.name for path in stopped_ledgers(tmp_path)}
    done = run_cli_in_process(*study)
    assert done.code == 0, done.stderr
    assert "0 of 3 trials done, 2 killed before (0, 1)" in done.stdout
    (sweep,) = sweeps(tmp_path)
    events, jobs = events_of(sweep), jobs_of(sweep)
    assert sorted(numbers(events, "job")) == list(range(5)), "each number once"
    assert sorted(numbers(events, "start")) == list(range(5))
    assert [jobs[n].status for n in range(5)] == ["stopped", "stopped", "finished", "finished", "finished"]
    assert {run for n in (2, 3) for run in jobs[n].end["resumed"]} == stopped
    assert "resumed" not in jobs[4].end


def test_failed_trial_ends_the_study_with_exit_code_2(words, failing):
    _, errors = failing
    errors[1] = [TrainingError("planted")]
    study = ("-m", *words, "hydra/sweeper=study", "training.ema_decay=choice(null,0.9)", "sweep.n_trials=5")
    done = run_cli_in_process(*study)
    assert_one_message(done, r"1 of 2 trials failed:\n  job 1 \(.*training\.ema_decay=.*\): TrainingError: planted")
    assert "all 2 points of the search space have been tried" in done.stdout
    assert "best trial: 0" in done.stdout


def test_seed_beside_seeds_is_refused(words, tmp_path):
    before = contents(tmp_path)
    assert_one_message(
        run_cli_in_process(*words, "seeds=[0,1]", "seed=5"), r"seed=5 has no effect beside seeds=\[0, 1\]"
    )
    assert contents(tmp_path) == before


def test_error_of_a_process_of_the_pool_reaches_the_sweep(words, tmp_path, monkeypatch):
    """The process composes its config again, so that it can fail although the sweep has checked the job."""
    run = pool_module.ProcessPool.run
    monkeypatch.setattr(
        pool_module.ProcessPool, "run", lambda self, given, output: run(self, [*given, "loss.margni=3"], output)
    )
    done = run_cli_in_process("-m", *words, *POOL, "seed=0", "sweep.retries=0")
    assert_one_message(done, r"job 0 \(.*: loss\.margni: there is no such setting\. Did you mean loss\.margin")


def pruned_by_the_median(reports):
    """Whether the lowest value of each trial was above the median of the finished ones at an epoch before the last."""
    finished, pruned = [], []
    for values in reports:
        medians = [statistics.median(other[epoch] for other in finished) for epoch in range(2)] if finished else []
        pruned.append(any(min(values[: epoch + 1]) > median for epoch, median in enumerate(medians)))
        finished += [] if pruned[-1] else [values]
    return pruned


def test_study_prunes_and_reaches_a_raised_total(words, tmp_path):
    study = (
        *("-m", *words, *STUDY, "trainer.max_epochs=3", "sweep.objectives=[t2i_mean_rank]"),
        *("sweep.prune_after_trials=1", "sweep.prune_after_epochs=0"),
    )
    done = run_cli_in_process(*study, "sweep.n_trials=4")
    assert done.code == 0, done.stderr
    assert re.search(r"best trial: \d", done.stdout)
    (sweep,) = sweeps(tmp_path)
    jobs = jobs_of(sweep)
    statuses = {jobs[n].status for n in range(4)}
    assert len(jobs) == 4
    assert statuses <= {"finished", "pruned"}
    for number, job in jobs.items():
        run = tmp_path / "runs" / job.end["runs"][0]
        events = read_ledger(run / "ledger.jsonl")
        assert events[-1]["status"] == job.status
        assert events[0]["job"] == number
        values = [event["values"] for event in events if event["event"] == "metrics"]
        ranks = [found["val/t2i_mean_rank"] for found in values if "val/t2i_mean_rank" in found]
        assert job.end["reports"] == {str(epoch): pytest.approx(rank) for epoch, rank in enumerate(ranks)}
        assert job.status == "pruned" or len(job.end["reports"]) == 3
    assert pruned_by_the_median([list(job.end["reports"].values()) for job in jobs.values()]) == [
        job.status == "pruned" for job in jobs.values()
    ]

    again = run_cli_in_process(*study, "sweep.n_trials=5")
    assert "4 of 5 trials done" in again.stdout
    assert sorted(jobs_of(sweep)) == [0, 1, 2, 3, 4]


def test_study_of_several_seeds_and_objectives(words, tmp_path):
    done = run_cli_in_process(
        "-m", *words, "hydra/sweeper=study", "model.embed_dim=32,64", "seeds=[0,1]", "sweep.sampler=grid",
        "sweep.objectives=[mean_r1,parameters]",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert "Pareto front: " in done.stdout
    (sweep,) = sweeps(tmp_path)
    for job in jobs_of(sweep).values():
        assert len(job.end["runs"]) == 2
        figures = [json.loads((tmp_path / "runs" / run / "result.json").read_text()) for run in job.end["runs"]]
        mean = sum(figure["val_metrics"]["mean_r1"] for figure in figures) / 2
        assert job.end["metrics"]["mean_r1"] == pytest.approx(mean)
        assert job.end["metrics"]["parameters"] == figures[0]["num_parameters"]
        assert "reports" not in job.end


def test_seeds_of_one_command_are_one_sweep(words, tmp_path, failing):
    _, errors = failing
    errors[1] = [TrainingError("planted")]
    command = (*words, "seeds=[0,1,2]", "ensemble=true")
    done = run_cli_in_process(*command)
    assert_one_message(
        done, r"1 of 3 runs failed; run the same command again to retry them", r"seed=1\): TrainingError: planted"
    )
    done = run_cli_in_process(*command)
    assert done.code == 0, done.stderr
    assert "interval of the mean over 3 seeds" in done.stdout
    assert " ".join(done.stdout.split()).count("is finished: it is reused") == 2
    (sweep,) = sweeps(tmp_path)
    assert [jobs_of(sweep)[n].status for n in range(3)] == ["finished"] * 3
    starts = [read_ledger(path)[0] for path in tmp_path.glob("runs/*/ledger.jsonl")]
    assert {(start["seed"], start["job"]) for start in starts} == {(0, 0), (1, 1), (2, 2)}
    summary = json.loads((sweep / "manifest.jsonl").read_text("utf-8").splitlines()[-1])
    assert summary["event"] == "summary"
    assert summary["std"]["mean_r1"] >= 0
    written = tmp_path / "three"
    checkpoints = ",".join(str(path) for path in sorted(tmp_path.glob("checkpoints/debug/*/best.ckpt")))
    (root,) = tmp_path.glob("**/dev_caps.txt")
    evaluated = run_cli_in_process(
        f"checkpoint=[{checkpoints}]", f"data.root={root.parent}", "split=val", f"out={written}", main=evaluate_main
    )
    assert evaluated.code == 0, evaluated.stderr
    assert "ensemble of 3 seeds" in done.stdout
    metrics = json.loads((written / "metrics.json").read_text("utf-8"))
    assert summary["ensemble"] == {name: metrics[name] for name in summary["ensemble"]}


# ---- bad input ---------------------------------------------------------------------------------------------------

FAULTS = [
    (("seed=0,1", "loss.margni=1,2"), r"every job: loss\.margni: there is no such setting\. Did you mean loss\.margin"),
    (("seed=0,1", "optimizer.lr=1e-3,-1"), r"job 1 \(.*\), job 3 \(.*\): optimizer: torch\.optim\.AdamW refuses"),
    (("seed=0,1", "resume=last"), r"resume=last continues a single run; to continue a sweep, run its command again"),
    (("scheduler=glob(nothing*)",), r"scheduler=glob\(nothing\*\): no value matches"),
    (("seed=range(5,1)",), r"seed=range\(5,1\): no value matches"),
    (("hydra/sweeper=study", "scheduler=glob(nothing*)"), r"scheduler=glob\(nothing\*\): no value matches"),
    (
        ("loss.margin=interval(0.1,0.2)",),
        r"loss\.margin=interval\(0\.1,0\.2\): a grid cannot .* hydra/sweeper=study, or list its values: loss\.margin=",
    ),
    (("seed=5,6", "seeds=[0,1]"), r"job 0 \(seed=5\): seed=5 has no effect beside seeds=\[0, 1\]: remove one"),
    (
        ("loss=triplet,hal", "loss.margin=0.3"),
        r"job 1 \(loss=hal\): loss\.margin: the chosen loss has no such setting; .*that has it: .*loss=triplet",
    ),
    (("seed=0,1", "trainer=ddp_cpu"), r"trainer\.devices=2, .*one device"),
    (
        ("seed=0,1", "hydra/launcher=local_pool", "hydra.launcher.gpus=[7]"),
        r"hydra\.launcher\.gpus=\[7\]: GPU 7 does not exist",
    ),
    (("hydra/sweeper=study", "loss.margni=interval(0.1,0.2)"), r"every search-space corner: loss\.margni: there is no"),
    (
        ("hydra/sweeper=study", "loss.margin=interval(0.3,0.2)"),
        r"loss\.margin: the lower bound 0\.3 is above",
    ),
    (
        ("hydra/sweeper=study", "training.ema_decay=null,0.9", "training.swa_begin=null,0.5"),
        r"search-space corner 3 \(training\.ema_decay=0\.9 training\.swa_begin=0\.5\): .*only one average",
    ),
    (
        ("hydra/sweeper=study", "loss.margin=interval(-1,0.2)"),
        r"search-space corner 0 .*margin=-1\.0 is outside",
    ),
    (
        ("hydra/sweeper=study", "loss.margin=interval(0.1,0.2)", "sweep.objectives=[val_loss]"),
        r"no run reports 'val_loss'.* Allowed: mean_r1, rsum",
    ),
]


@pytest.mark.parametrize(("given", "message"), FAULTS, ids=[" ".join(given)[:60] for given, _ in FAULTS])
def test_invalid_sweep_starts_nothing(words, tmp_path, given, message):
    before = contents(tmp_path)
    assert_one_message(run_cli_in_process("-m", *words, *given), message)
    after = contents(tmp_path)
    assert not [name for name in after.keys() - before.keys() if not name.startswith("runs/sweeps")]


def test_study_folder_of_another_space_is_refused(words, tmp_path):
    first = ("-m", *words, "hydra/sweeper=study", "sweep.name=lr", "sweep.n_trials=1")
    assert run_cli_in_process(*first, "loss.margin=interval(0.1,0.2)").code == 0
    before = contents(tmp_path)
    done = run_cli_in_process(*first, "loss.margin=interval(0.1,0.3)")
    assert_one_message(done, r"sweep\.name=lr: .*/lr holds another sweep: its space is .*0\.2.*, here it is .*0\.3")
    assert contents(tmp_path) == before


def test_full_disk_stops_the_sweep_and_keeps_finished_runs(words, tmp_path, monkeypatch):
    train = job_module.train

    def full_at_the_second(plan, resume=None, job=None):
        if job.number == 1:
            raise OSError(28, "No space left on device", "/data/last.ckpt")
        return train(plan, resume=resume, job=job)

    monkeypatch.setattr(job_module, "train", full_at_the_second)
    done = run_cli_in_process("-m", *words, "seed=0,1,2")
    assert_one_message(
        done, r"job 1: OSError: .*No space left on device.*; free space there and run the same command again"
    )
    (sweep,) = sweeps(tmp_path)
    assert [jobs_of(sweep)[n].status for n in range(3)] == ["finished", "failed", "waiting"]
    monkeypatch.setattr(job_module, "train", train)
    done = run_cli_in_process("-m", *words, "seed=0,1,2")
    assert (done.code, "1 finished before, 2 to go" in done.stdout) == (0, True)
