"""Several processes that Lightning starts: their port, a continuation, and SIGTERM."""

import os
import re
import signal
import socket

import pytest
import torch

from helpers.cli import run_cli_in_process, start_training
from tangka_match.records.ledger import read_ledger
from tangka_match.retrieval.metadata import read_checkpoint

from .conftest import places

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without torch.distributed")


def test_taken_port_is_one_message(demo_data, tmp_path, monkeypatch):
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen()
        monkeypatch.setenv("MASTER_PORT", str(listener.getsockname()[1]))
        done = run_cli_in_process("+experiment=debug", "trainer=ddp_cpu", *places(demo_data, tmp_path))
    assert done.code == 2
    assert done.stderr.startswith("ConfigError: MASTER_PORT=")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_continuation_is_stopped_in_both_processes(demo_data, tmp_path):
    """The second process starts when the new run is the last one, and continues the same parent."""
    done = run_cli_in_process("+experiment=debug", "trainer.log_every_n_steps=1", *places(demo_data, tmp_path))
    assert done.code == 0, done.stderr
    (parent,) = (tmp_path / "runs").iterdir()
    config = (parent / "config.yaml").read_text("utf-8")
    changed = re.sub(r"(?m)^(  devices:) 1$", r"\1 2", re.sub(r"(?m)^(  strategy:) auto$", r"\1 ddp", config))
    assert changed.count("devices: 2") == changed.count("strategy: ddp") == 1
    (parent / "config.yaml").write_text(changed, encoding="utf-8")

    words = ("resume=last", "trainer.max_epochs=500", "trainer.max_steps=-1", f"paths.runs={tmp_path / 'runs'}")
    process = start_training(tmp_path, *words)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert_all_have_stopped(process, tmp_path)

    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path != parent)
    assert read_ledger(folder / "ledger.jsonl")[0]["parent"]["run_id"] == parent.name
    assert_nothing_is_lost(folder, tmp_path)


@pytest.mark.parametrize("trainer", ["cpu", "ddp_cpu"])
def test_signal_that_data_workers_get_too(demo_data, tmp_path, trainer):
    """``scancel`` and Slurm's time limit signal every process of a job."""
    words = ("trainer.max_epochs=500", "trainer.max_steps=-1", "trainer.log_every_n_steps=1", "data.num_workers=2")
    process = start_training(tmp_path, "+experiment=debug", f"trainer={trainer}", *words, *places(demo_data, tmp_path))
    os.killpg(process.pid, signal.SIGTERM)
    output = assert_all_have_stopped(process, tmp_path)
    assert "Traceback" not in output
    (folder,) = (tmp_path / "runs").iterdir()
    assert_nothing_is_lost(folder, tmp_path)


def assert_all_have_stopped(process, folder):
    """Check that no process of the group is left within 30 seconds; return their output."""
    code = process.wait(timeout=30)
    output = (folder / "output").read_text()
    assert code == 143, output
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    return output


def assert_nothing_is_lost(run, folder):
    events = read_ledger(run / "ledger.jsonl")
    assert events[-1]["status"] == "stopped"
    (last,) = (folder / "checkpoints").glob(f"*/{run.name}/last.ckpt")
    logged = [event["step"] for event in events if event["event"] == "metrics"]
    assert read_checkpoint(last)["global_step"] == logged[-1] + 1
