"""The command of the docs for Slurm, run by submitit's local executor: one process per job, as on a cluster."""

import os
import re
import signal
from pathlib import Path

import pytest
import torch

from helpers.bad_input import SMALL, assert_one_message, places
from helpers.cli import run_cli_in_process, start_training
from helpers.configs import compose_config
from helpers.precomp import write_dataset
from tangka_match.records.ledger import read_ledger
from tangka_match.sweeps import session

from .conftest import places as cli_places

PROCESS = "submitit.core._submit"
DOCS = Path(__file__).parents[2] / "docs" / "sweeps.md"
SLURM_ONLY = ("hydra.launcher.partition", "hydra.launcher.max_num_timeout")


@pytest.fixture
def words(tmp_path):
    """Return the overrides of the documented command, those that only Slurm has left out, for a tiny data set."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    write_dataset(tmp_path / "set")
    text = DOCS.read_text("utf-8").replace("\\\n", " ")
    (command,) = re.findall(r"python -m tangka_match\.train -m <overrides> (.*submitit_slurm.*)", text)
    given = [word for word in command.split() if not word.startswith(SLURM_ONLY)]
    local = ["hydra/launcher=submitit_local" if word == "hydra/launcher=submitit_slurm" else word for word in given]
    assert {"trainer=gpu", "hydra/launcher=submitit_local", "hydra.launcher.gpus_per_node=1"} <= set(local)
    return ["-m", *SMALL, *local, "logger=none", "trainer.max_steps=1", "seed=0", "sweep.retries=0", *places(tmp_path)]


def test_documented_command_is_valid_for_slurm():
    words = re.findall(r"hydra[./]launcher\S*=\S+", DOCS.read_text("utf-8"))
    slurm = [word for word in words if "trials_per_gpu" not in word and "local_pool" not in word]
    assert len(slurm) == 5
    compose_config("+experiment=debug", *slurm)


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_job_runs_in_a_process_of_submitit(words, monkeypatch, accelerator):
    """Devices are checked by the job; without a GPU its message reaches the sweep."""
    monkeypatch.setattr(session, "LOCAL_LAUNCHERS", ())
    words = [word.replace("trainer=gpu", f"trainer={accelerator}") for word in words]
    done = run_cli_in_process(*words)
    if accelerator == "gpu" and not torch.accelerator.is_available():
        assert_one_message(done, r"1 of 1 jobs failed.*\n  job 0 .*finds no GPU on this machine")
    else:
        assert (done.code, "1 of 1 jobs finished" in done.stdout) == (0, True), done


def test_job_is_requeued_by_the_signal_before_its_time_limit(demo_data, tmp_path):
    """submitit ends it with the code that its executor starts again; the same run is then continued."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    words = ("trainer.max_epochs=3", "trainer.max_steps=-1", "trainer.log_every_n_steps=1", "data.batch_size=8")
    process = start_training(
        tmp_path, "-m", "+experiment=debug", "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=9", "seed=0",
        *words, *cli_places(demo_data, tmp_path),
    )  # fmt: skip
    (job,) = (path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if is_job(path, tmp_path))
    os.kill(int(job.name), signal.SIGUSR2)
    assert process.wait(timeout=180) == 0, (tmp_path / "output").read_text()

    (ledger,) = tmp_path.glob("runs/*/ledger.jsonl")  # one run, not two
    events = read_ledger(ledger)
    stopped = next(i for i, event in enumerate(events) if event["event"] == "end")
    steps = [event["step"] for event in events if event["event"] == "metrics" and "train/loss" in event["values"]]
    saved, end = events[stopped - 1 : stopped + 1]
    assert (saved["event"], end["status"]) == ("checkpoint", "stopped")
    assert saved["step"] == len([event for event in events[:stopped] if "train/loss" in event.get("values", ())])
    assert events[-1]["status"] == "finished"
    assert steps == list(range(60))


def is_job(path, folder):
    try:
        words = path.read_text().split("\0")
    except OSError:  # the process has ended, or belongs to another user
        return False
    return PROCESS in words and any(word.startswith(str(folder)) for word in words)
