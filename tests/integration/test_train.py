"""A whole run through the command line, and everything it leaves behind."""

import csv
import json

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


def test_one_command_leaves_everything_to_repeat_and_to_use_a_run(train, tmp_path):
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


def test_same_seed_same_numbers(train, tmp_path):
    words = ("+experiment=debug", "augmentation=drop", "logger=none")
    for _ in range(2):
        assert train(*words).code == 0
    first, second = (read_checkpoint(path)["state_dict"] for path in sorted(tmp_path.glob("checkpoints/*/*/best.ckpt")))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not list(tmp_path.glob("runs/*/metrics.csv"))  # logger=none keeps the ledger alone


def test_help_and_composing_need_no_torch(tmp_path):
    """They answer at once because torch, which takes seconds to import, is not imported."""
    blocker = tmp_path / "torch.py"
    blocker.write_text("raise ImportError('torch was imported')\n")
    for words in (("--help",), ("--cfg", "job", "+experiment=targeted")):
        done = run_cli_subprocess(*words, env={"PYTHONPATH": str(tmp_path)})
        assert done.code == 0, done.stderr
        assert "experiment" in done.stdout or "early_stopping_patience: 10" in done.stdout
