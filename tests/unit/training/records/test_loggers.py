import logging
import sys

import pytest
import wandb
from pytorch_lightning.loggers import TensorBoardLogger

from helpers.wandb_files import find_offline_runs
from tangka_match.errors import ConfigError
from tangka_match.training.lightning_facts import rank_zero_only
from tangka_match.training.records.ledger import Ledger, read_ledger
from tangka_match.training.records.loggers import LedgerLogger, finish_service_logger, make_service_logger
from tangka_match.training.records.metrics_table import MetricsTable
from tangka_match.training.records.run_folder import RunFolder
from tangka_match.training.settings import LoggerSettings

CONFIG = {"seed": 3, "model": {"_target_": "tangka_match.models.VSE", "dim": 8}, "说明": "唐卡"}


def make_folder(path, run_id="20260101-000000-aaaaaa-0000"):
    folder = RunFolder(run_id, path / run_id, path / "checkpoints")
    folder.path.mkdir(parents=True)
    return folder


def start(folder, kind="wandb"):
    settings = LoggerSettings(kind=kind, project="thangka")
    return make_service_logger(settings, folder, group="targeted", tags=("targeted", "seed3"), config=CONFIG)


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """Two runs of one process: one that ends well, and one that crashes after the first step."""
    path = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(path / "home"))
        for run_id, exit_code in (("finished", 0), ("crashed", 1)):
            service = start(make_folder(path, run_id))
            for step in range(3 if exit_code == 0 else 1):
                service.log_metrics({"train/loss": 1.0 / (step + 1)}, step)
            summary = {"val/mean_r1": 37.5} if exit_code == 0 else {}
            finish_service_logger(service, exit_code=exit_code, summary=summary)
    return {run.run_id: run for run in find_offline_runs(path)}


def test_a_finished_run_has_exit_code_0_and_a_crashed_one_1(offline):
    assert {run_id: run.exit_code for run_id, run in offline.items()} == {"finished": 0, "crashed": 1}


def test_an_offline_run_says_what_it_belongs_to(offline):
    run = offline["finished"]
    assert (run.project, run.group, run.job_type) == ("thangka", "targeted", "train")
    assert (run.name, run.tags) == ("finished", ["targeted", "seed3"])


def test_the_whole_config_is_in_the_run(offline):
    assert offline["finished"].config == CONFIG
    assert offline["crashed"].config == CONFIG


def test_a_step_of_history_is_a_step_of_training(offline):
    rows = offline["finished"].history
    assert [row["trainer/global_step"] for row in rows] == [0, 1, 2]
    assert [row["train/loss"] for row in rows] == pytest.approx([1.0, 0.5, 1 / 3])


def test_the_summary_holds_the_best_metrics(offline):
    assert offline["finished"].summary["val/mean_r1"] == 37.5


def test_the_second_run_of_a_process_does_not_write_into_the_first(offline):
    assert len(offline["finished"].history) == 3
    assert len(offline["crashed"].history) == 1
    assert "val/mean_r1" not in offline["crashed"].summary
    assert wandb.run is None


def test_wandb_says_nothing_but_warnings(offline):
    assert logging.getLogger("wandb").level == logging.WARNING


@pytest.mark.parametrize("kind", ["csv", "none"])
def test_the_ledger_alone_needs_no_service(tmp_path, kind):
    assert start(make_folder(tmp_path), kind) is None
    finish_service_logger(None, exit_code=0, summary={})


def test_tensorboard_writes_into_the_run_folder(tmp_path):
    folder = make_folder(tmp_path)
    service = start(folder, "tensorboard")
    assert isinstance(service, TensorBoardLogger)
    service.log_metrics({"train/loss": 0.5}, 0)
    finish_service_logger(service, exit_code=0, summary={})
    assert list((folder.path / "tensorboard").glob("events.out.tfevents.*"))


def test_tensorboard_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("pytorch_lightning.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE", False)
    for name in ("tensorboard", "tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r'logger=tensorboard needs TensorBoard: pip install "tangka-match\[tens'):
        start(make_folder(tmp_path), "tensorboard")


def test_wandb_that_cannot_log_in_is_said_in_one_message(tmp_path, monkeypatch):
    def refuse(**settings):
        raise wandb.errors.UsageError("No API key configured.\nUse `wandb login`")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(ConfigError, match=r"logger\.offline=True: W&B did not start \(No API key configured\.\): run"):
        start(make_folder(tmp_path))


def test_the_ledger_gets_each_metric_as_it_is_logged(tmp_path):
    records = LedgerLogger(Ledger(tmp_path / "ledger.jsonl"), None)
    records.log_metrics({"train/loss": 0.5, "epoch": 2}, 7)
    event = read_ledger(tmp_path / "ledger.jsonl")[-1]
    assert (event["event"], event["step"], event["epoch"], event["values"]) == ("metrics", 7, 2, {"train/loss": 0.5})


def test_the_table_gets_the_same_row(tmp_path):
    records = LedgerLogger(Ledger(tmp_path / "ledger.jsonl"), MetricsTable(tmp_path / "metrics.csv"))
    records.log_metrics({"train/loss": 0.5, "epoch": 2}, 7)
    assert (tmp_path / "metrics.csv").read_text("utf-8").splitlines() == ["step,epoch,train/loss", "7,2,0.5"]


def test_another_process_of_a_run_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1, raising=False)
    records = LedgerLogger(Ledger(tmp_path / "ledger.jsonl"), MetricsTable(tmp_path / "metrics.csv"))
    records.log_metrics({"train/loss": 0.5}, 0)
    records.rewind(0)
    assert list(tmp_path.iterdir()) == []
