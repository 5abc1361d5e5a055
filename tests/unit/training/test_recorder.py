import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from helpers.forks import in_fork
from helpers.small_runs import small_plan
from tangka_match.records.ledger import read_ledger
from tangka_match.records.run_folder import RUN_ID_VARIABLE, RunFolder
from tangka_match.training import recorder as recorder_module
from tangka_match.training import runner, stopping
from tangka_match.training.recorder import Recorder
from tangka_match.training.runner import train
from tangka_match.training.stopping import StopRequest


@pytest.fixture(autouse=True)
def _restore_process_state(monkeypatch):
    for name in (RUN_ID_VARIABLE, "CUBLAS_WORKSPACE_CONFIG", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "")  # recorded here, so that it is restored at the end
        monkeypatch.delenv(name)
    monkeypatch.setattr(runner, "keep_freed_memory", lambda: None)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    ("name", "damaged"),
    [("result.json", None), ("result.json", b"{"), ("ranks.csv", None), ("curves.png", None), ("meta.json", None)],
)
def test_finished_run_writes_missing_outputs_again(tmp_path, caplog, name, damaged):
    folder = train(small_plan(tmp_path)).folder
    path = (folder.checkpoints if name == "meta.json" else folder.path) / name
    before = path.read_bytes()
    path.unlink()
    if damaged is not None:
        path.write_bytes(damaged)
    weights = folder.last.read_bytes()
    with caplog.at_level("WARNING", "tangka_match"):
        train(small_plan(tmp_path), resume=folder)
    assert name == "curves.png" or path.read_bytes() == before
    assert (path.is_file(), folder.last.read_bytes() == weights) == (True, True)
    log = (folder.path / "run.log").read_text("utf-8")
    assert f"has finished, but {name} is missing or damaged: best.ckpt is validated again" in log
    assert [e["status"] for e in read_ledger(folder.ledger) if e["event"] == "end"] == ["finished"] * 2


def test_run_is_noted_as_finished_after_its_last_output(tmp_path):
    def draw(events, path):
        assert [e["event"] for e in events if e["event"] == "end"] == []
        assert (path.parent / "ranks.csv").is_file()
        raise OSError("power cut")

    with pytest.raises(OSError, match=r"curves\.png"):
        train(replace(small_plan(tmp_path), draw_curves=draw))
    (path,) = (tmp_path / "runs").iterdir()
    folder = RunFolder(path.name, path, tmp_path / "checkpoints" / "small" / path.name)
    assert [e["status"] for e in read_ledger(folder.ledger) if e["event"] == "end"] == ["failed"]
    assert train(small_plan(tmp_path), resume=folder).total_steps == 6
    assert folder.missing_outputs() == []


class BlockingService:
    """Tracker whose upload never ends, and which ignores signals."""

    def finalize(self, status):
        with suppress(SIGTERMException):
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)


@pytest.mark.parametrize(("in_training", "status"), [(True, "stopped"), (False, "finished")])
def test_end_is_recorded_while_the_tracker_still_uploads(tmp_path, monkeypatch, in_training, status):
    monkeypatch.setattr(stopping, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(recorder_module, "make_service_logger", lambda *args, **fields: BlockingService())
    folder = RunFolder("a", tmp_path, tmp_path)
    folder.ledger.touch()
    recorder = Recorder(small_plan(tmp_path), folder, None, {})

    def work():
        with StopRequest().listening() as stop, recorder.running(stop):
            with stop.training():
                stop.is_connected = True
                if in_training:
                    os.kill(os.getpid(), signal.SIGTERM)
            recorder.result = SimpleNamespace(pruned=False, metrics={}, held_out=None)

    assert in_fork(work) == 143
    assert [event["status"] for event in read_ledger(folder.ledger)] == [status]
