import sys

import pytest
from pytorch_lightning.loggers import TensorBoardLogger

from tangka_match.errors import ConfigError
from tangka_match.records.ledger import Ledger, read_ledger
from tangka_match.records.metrics_table import MetricsTable
from tangka_match.records.run_folder import RunFolder
from tangka_match.training.distributed import rank_zero_only
from tangka_match.training.loggers import LedgerLogger, finish_service_logger, make_service_logger
from tangka_match.training.settings import LoggerSettings


def make_folder(path, run_id="20260101-000000-aaaaaa-0000"):
    folder = RunFolder(run_id, path / run_id, path / "checkpoints")
    folder.path.mkdir(parents=True)
    return folder


def start(folder, kind):
    about = {"name": "targeted", "group": "targeted", "tags": (), "overrides": (), "config": {}}
    return make_service_logger(LoggerSettings(kind=kind), folder, **about)


@pytest.mark.parametrize("kind", ["csv", "none"])
def test_ledger_needs_no_tracker(tmp_path, kind):
    assert start(make_folder(tmp_path), kind) is None
    finish_service_logger(None, exit_code=0, summary={})


def test_tensorboard_writes_to_the_run_folder(tmp_path):
    folder = make_folder(tmp_path)
    service = start(folder, "tensorboard")
    assert isinstance(service, TensorBoardLogger)
    service.log_metrics({"train/loss": 0.5}, 0)
    finish_service_logger(service, exit_code=0, summary={})
    assert list((folder.path / "tensorboard").glob("events.out.tfevents.*"))


def test_missing_tensorboard_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("pytorch_lightning.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE", False)
    for name in ("tensorboard", "tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r'logger=tensorboard needs TensorBoard: pip install "tangka-match\[tens'):
        start(make_folder(tmp_path), "tensorboard")


def test_ledger_gets_each_metric_when_it_is_logged(tmp_path):
    records = LedgerLogger(Ledger(tmp_path / "ledger.jsonl"), None)
    records.log_metrics({"train/loss": 0.5, "epoch": 2}, 7)
    event = read_ledger(tmp_path / "ledger.jsonl")[-1]
    assert (event["event"], event["step"], event["epoch"], event["values"]) == ("metrics", 7, 2, {"train/loss": 0.5})


def test_table_gets_the_same_row(tmp_path):
    records = LedgerLogger(Ledger(tmp_path / "ledger.jsonl"), MetricsTable(tmp_path / "metrics.csv"))
    records.log_metrics({"train/loss": 0.5, "epoch": 2}, 7)
    assert (tmp_path / "metrics.csv").read_text("utf-8").splitlines() == ["step,epoch,train/loss", "7,2,0.5"]


def test_other_ranks_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1, raising=False)
    records = LedgerLogger(Ledger(tmp_path / "ledger.jsonl"), MetricsTable(tmp_path / "metrics.csv"))
    records.log_metrics({"train/loss": 0.5}, 0)
    records.rewind(0)
    assert list(tmp_path.iterdir()) == []


def test_rewind_removes_later_rows_from_table(tmp_path):
    ledger, table = tmp_path / "ledger.jsonl", tmp_path / "metrics.csv"
    records = LedgerLogger(Ledger(ledger), MetricsTable(table))
    for step in (1, 2, 3):
        records.log_metrics({"train/loss": 1.0 / step, "epoch": 0}, step)
    records.rewind(3)
    records.log_metrics({"train/loss": 9.0, "epoch": 0}, 3)
    assert table.read_text("utf-8").splitlines()[1:] == ["1,0,1.0", "2,0,0.5", "3,0,9.0"]
    assert [event["step"] for event in read_ledger(ledger) if event["event"] == "metrics"] == [1, 2, 3]
