"""A run that is killed within an epoch and resumed has bitwise the same result as an uninterrupted run."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from helpers.cli import run_cli_subprocess
from helpers.equal_states import same
from tangka_match.records.ledger import read_ledger
from tangka_match.retrieval.metadata import read_checkpoint

from .conftest import places

# One run with dropout, augmentation, a learnt temperature, averaged weights, a curriculum loss and a schedule.
# Other states (queues, pair weights, hard batches, mixed sets, tail averages) are resumed in separate tests.
RUN = (
    "+experiment=debug",
    "augmentation=strong",
    "training.ema_decay=0.9",
    "training.checkpoint_every_n_steps=4",
    "trainer.max_steps=-1",
    "trainer.max_epochs=4",
    "logger=csv",
)
STATES = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "exact_resume")
EXIT_CODE = {signal.SIGTERM: 143, signal.SIGKILL: -9}
KILL_AFTER = 24  # steps of 40: in the middle of the third epoch


@pytest.fixture(scope="module")
def uninterrupted(demo_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = run_cli_subprocess(*RUN, *places(demo_data, folder))
    assert done.code == 0, done.stderr
    return folder


@pytest.fixture
def sigint_enabled():
    """Restore the default handler of SIGINT, which background processes of a shell and their children ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start_and_stop(words, ledgers, how):
    """Start a run, send it the signal ``how`` after ``KILL_AFTER`` steps, and return its exit code.

    Lightning logs the metrics of a step after the checkpoint of that step is written. A kill within the millisecond
    between them loses these metrics, so the test waits for those of the next step.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tangka_match.train", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    next_step = re.compile(rf'"event": "metrics", .*"step": {KILL_AFTER}\b')
    while not any(next_step.search(path.read_text("utf-8")) for path in ledgers()):
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, how)
    return process.wait(timeout=60)


def checkpoint(folder, name):
    (path,) = folder.glob(f"checkpoints/*/*/{name}.ckpt")
    return read_checkpoint(path)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_and_resumed_run_equals_an_uninterrupted_one(uninterrupted, demo_data, tmp_path, how):
    """The stopped run has two workers, which read ahead; the uninterrupted one has none."""
    words = (*RUN, *places(demo_data, tmp_path), "data.num_workers=2")
    assert start_and_stop(words, lambda: tmp_path.glob("runs/*/ledger.jsonl"), how) == EXIT_CODE[how]
    stopped = checkpoint(tmp_path, "last")["global_step"]
    assert 20 < stopped < 40

    done = run_cli_subprocess("resume=last", f"paths.runs={tmp_path / 'runs'}")
    assert done.code == 0, done.stderr
    assert "resumable" not in done.stderr  # Lightning warns if the position in the epoch is lost
    for name in ("last", "best"):
        expected, resumed = checkpoint(uninterrupted, name), checkpoint(tmp_path, name)
        assert expected["global_step"] == resumed["global_step"]
        for state in STATES:
            assert same(expected[state], resumed[state]), f"{state} of {name}.ckpt"
    assert _losses(uninterrupted) == _losses(tmp_path)


def _losses(folder):
    (ledger,) = folder.glob("runs/*/ledger.jsonl")
    metrics = [e for e in read_ledger(ledger) if e["event"] == "metrics" and "train/loss" in e["values"]]
    return [(e["step"], e["values"]["train/loss"]) for e in metrics]


@pytest.mark.usefixtures("sigint_enabled")
def test_ctrl_c_exits_with_130_and_says_how_to_continue(demo_data, tmp_path):
    words = (*RUN, *places(demo_data, tmp_path))
    assert start_and_stop(words, lambda: tmp_path.glob("runs/*/ledger.jsonl"), signal.SIGINT) == 130
    (run,) = tmp_path.glob("runs/*")
    assert read_ledger(run / "ledger.jsonl")[-1]["status"] == "stopped"
    assert f"run {run.name} has stopped; continue it with resume={run.name}" in (run / "run.log").read_text("utf-8")
