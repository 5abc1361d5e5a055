"""A run through the command line, and the files it writes."""

import csv
import json
import os

import torch
import yaml
from PIL import Image

from helpers.cli import run_cli_subprocess
from helpers.wandb_files import find_offline_runs
from tangka_match.records.ledger import read_ledger
from tangka_match.retrieval.metadata import METADATA_KEY, read_checkpoint

RECALLS = {f"{direction}_r{k}" for direction in ("i2t", "t2i") for k in (1, 5, 10)}


def only(folder, pattern):
    (path,) = folder.glob(pattern)
    return path


def test_run_writes_records_checkpoints_and_wandb_files(train, tmp_path):
    done = train("+experiment=debug", "logger=wandb", "tags=[first]", "seed=3")
    assert done.code == 0, done.stderr
    run = only(tmp_path, "runs/*/config.yaml").parent
    checkpoints = tmp_path / "checkpoints" / "debug" / run.name
    for shown in ("mean R@1", "rsum", "R@10 %", str(run), str(checkpoints)):
        assert shown in done.stdout.replace("\n", "")

    config = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    assert (config["seed"], config["name"], config["model"]["embed_dim"]) == (3, "debug", 64)
    environment = json.loads((run / "environment.json").read_text("utf-8"))
    assert "tangka_match.train +experiment=debug logger=wandb" in environment["command"]
    assert environment["packages"]["torch"] == torch.__version__

    events = read_ledger(run / "ledger.jsonl")
    assert events[0]["event"] == "start"
    assert events[-1] == {"event": "end", "time": events[-1]["time"], "status": "finished"}
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["train/loss"]] == list(range(6))

    result = json.loads((run / "result.json").read_text("utf-8"))
    assert set(result["val_metrics"]) >= RECALLS | {"mean_r1", "rsum", "t2i_median_rank"}
    assert set(result["val_ci95"]) == set(result["val_metrics"])
    assert (result["total_steps"], result["num_images"]) == (6, 40)
    assert json.loads((checkpoints / "meta.json").read_text("utf-8"))["config"]["seed"] == 3
    assert Image.open(run / "curves.png").size[0] > 1000
    assert "guard (short_schedule)" in (run / "run.log").read_text("utf-8")
    _check_checkpoint(checkpoints / "best.ckpt", run.name)
    _check_wandb(run, result)


def _check_checkpoint(path, run_id):
    checkpoint = read_checkpoint(path)
    metadata = checkpoint[METADATA_KEY]
    assert metadata["run_id"] == run_id
    assert metadata["model"]["_target_"] == "tangka_match.models.VSE"
    assert metadata["vocabulary"]["word2idx"]["<unk>"] == 3
    assert (metadata["num_regions"], metadata["feature_dim"]) == (36, 2048)
    assert checkpoint["global_step"] == 6


def _check_wandb(run, result):
    (record,) = find_offline_runs(run / "wandb")
    assert record.run_id == run.name
    assert (record.group, record.job_type) == ("debug", "train")
    assert {"debug", "VSE", "seed3", "first"} <= set(record.tags)
    assert record.config["model"]["embed_dim"] == 64
    assert record.summary["val/mean_r1"] == result["val_metrics"]["mean_r1"]
    assert [row["train/loss"] for row in record.history if "train/loss" in row]
    assert record.exit_code == 0


def test_same_seed_gives_the_same_weights(train, tmp_path):
    words = ("+experiment=debug", "augmentation=drop", "logger=none")
    for _ in range(2):
        assert train(*words).code == 0
    first, second = (read_checkpoint(path)["state_dict"] for path in sorted(tmp_path.glob("checkpoints/*/*/best.ckpt")))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not list(tmp_path.glob("runs/*/metrics.csv"))  # logger=none writes the ledger only


def test_command_line_sets_user_callback_limits_and_monitor(train, tmp_path):
    """In two epochs of `targeted`, the default warm-up and patience are too long, which gives a warning."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "my_callbacks.py").write_text(
        "import pytorch_lightning as pl\n"
        "class Hello(pl.Callback):\n"
        "    def __init__(self, name: str) -> None:\n"
        "        self.name = name\n"
        "    def on_fit_start(self, trainer, pl_module):\n"
        "        print('hello', self.name, trainer.limit_train_batches)\n"
    )
    words = ("+experiment=targeted", "model=vse_tiny", "trainer.accelerator=cpu", "logger=none", "trainer.max_epochs=2")
    mine = ("+callbacks.mine._target_=my_callbacks.Hello", "+callbacks.mine.name=you")
    more = ("data.batch_size=32", "trainer.limit_train_batches=2", "training.monitor=val/rsum")
    path = os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])
    done = train(*words, *mine, *more, "data=demo_small", env={"PYTHONPATH": path})
    assert done.code == 0, done.stderr
    assert "hello you 2" in done.stdout
    log = only(tmp_path, "runs/*/run.log").read_text("utf-8")
    assert "scheduler.warmup_steps=50, but the run has 4 optimizer steps" in log
    assert "training.early_stopping_patience=10, but the run has 2 validations" in log
    saved = yaml.safe_load(only(tmp_path, "runs/*/config.yaml").read_text("utf-8"))
    assert saved["callbacks"]["mine"]["name"] == "you"
    assert read_checkpoint(only(tmp_path, "checkpoints/*/*/best.ckpt"))["global_step"] in (2, 4)


def test_help_and_composition_do_not_import_torch(tmp_path):
    """Importing torch takes seconds."""
    blocker = tmp_path / "torch.py"
    blocker.write_text("raise ImportError('torch was imported')\n")
    for words in (("--help",), ("--cfg", "job", "+experiment=targeted")):
        done = run_cli_subprocess(*words, env={"PYTHONPATH": str(tmp_path)})
        assert done.code == 0, done.stderr
        assert "experiment" in done.stdout or "early_stopping_patience: 10" in done.stdout
