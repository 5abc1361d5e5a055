"""Two processes started by torchrun are one run, and write the missing demo set once."""

import os
import subprocess
import sys

import pytest
import torch

from tangka_match.records.ledger import read_ledger
from tangka_match.records.run_folder import RUN_ID_VARIABLE

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without torch.distributed")


def torchrun(folder, **environment):
    words = ("--standalone", "--nproc-per-node=2", "-m", "tangka_match.train", "+experiment=debug", "trainer=ddp_cpu")
    places = (f"paths.{name}={folder / name}" for name in ("data", "runs", "checkpoints"))
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            *words,
            "trainer.max_steps=3",
            "loss=alignment_uniformity",  # a part of the model gets no gradient
            "data.writer.thumbnails=false",
            *places,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_two_processes_make_one_run(tmp_path):
    done = torchrun(tmp_path, **{RUN_ID_VARIABLE: "together"})
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["together"]
    events = [event["event"] for event in read_ledger(tmp_path / "runs" / "together" / "ledger.jsonl")]
    assert (events.count("start"), events.count("end")) == (1, 1)
    assert done.stdout.count("mean R@1 ") == 2  # one in the log line of the validation, one in the table


def test_missing_run_id_is_reported(tmp_path):
    done = torchrun(tmp_path, **{RUN_ID_VARIABLE: ""})
    assert done.returncode != 0
    assert f"ConfigError: {RUN_ID_VARIABLE}=''" in done.stderr
    assert "need one run id" in done.stderr
    assert not (tmp_path / "runs").exists()
