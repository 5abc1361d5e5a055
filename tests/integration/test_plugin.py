"""Train, resume, evaluate and load with a matcher, a loss and a tokenizer of another package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import tangka_match
from helpers.cli import run_cli_in_process, run_cli_subprocess
from helpers.registries import empty_registry
from tangka_match.errors import CheckpointError
from tangka_match.evaluate import main as evaluate
from tangka_match.retrieval.metadata import METADATA_KEY, read_checkpoint

from .conftest import places

PACKAGE = Path(__file__).parents[1] / "example_plugin"
RUN = (
    *(f"--config-dir={PACKAGE / 'conf'}", "model=example", "loss=example", "data/tokenizer=example"),
    *("data=demo_small", "trainer=debug", "trainer.max_epochs=1", "scheduler.warmup_steps=1", "logger=none"),
    "training.early_stopping_patience=null",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Install the example package with pip, and return the folder."""
    folder = tmp_path_factory.mktemp("site")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder))
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(PACKAGE)], check=True)
    return folder


@pytest.fixture
def plugin(installed, monkeypatch):
    """Add the example package to the path of this process; afterwards restore the path and the registry."""
    with empty_registry():
        monkeypatch.syspath_prepend(installed)
        yield
        sys.modules.pop("tangka_match_example", None)


@pytest.fixture(scope="module")
def environment(installed):
    return {"PYTHONPATH": os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])}


@pytest.fixture(scope="module")
def trained(environment, demo_data, tmp_path_factory):
    """Train in a fresh process, and return the folder of runs and checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    done = run_cli_subprocess(*RUN, *places(demo_data, folder), env=environment)
    assert done.code == 0, done.stderr
    return folder


def only(folder, pattern):
    (found,) = folder.glob(pattern)
    return found


def test_checkpoint_stores_registered_names(trained):
    metadata = read_checkpoint(only(trained, "checkpoints/*/*/best.ckpt"))[METADATA_KEY]
    assert metadata["model"] == {"_target_": "example_matcher", "embed_dim": 16}
    assert metadata["tokenizer"] == {"name": "example_characters", "lower": True}
    config = yaml.safe_load(only(trained, "runs/*/config.yaml").read_text("utf-8"))
    assert config["loss"]["_target_"] == "example_loss"


def test_evaluate_and_load_give_the_trained_matcher(plugin, trained, demo_data, tmp_path):
    checkpoint = only(trained, "checkpoints/*/*/best.ckpt")
    words = (f"checkpoint={checkpoint}", f"data.root={demo_data / 'demo_small'}", "split=val", f"out={tmp_path}/out")
    done = run_cli_in_process(*words, main=evaluate)
    assert done.code == 0, done.stderr
    judged = json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))
    trained_result = json.loads(only(trained, "runs/*/result.json").read_text("utf-8"))
    assert judged["rsum"] == pytest.approx(trained_result["val_metrics"]["rsum"])
    model = tangka_match.load(checkpoint)
    assert type(model.matcher).__module__ == "tangka_match_example"
    assert model.tokenizer("绿度母 A") == ["绿", "度", "母", "a"]
    assert model.similarity(torch.rand(2, 36, model.metadata["feature_dim"]), ["绿度母"]).shape == (2, 1)


def test_killed_run_is_resumed_and_finished(trained, environment, demo_data):
    """The ledger lacks the ``end`` event, as after a kill at the end of the run."""
    ledger = only(trained, "runs/*/ledger.jsonl")
    lines = [line for line in ledger.read_text("utf-8").splitlines() if json.loads(line)["event"] != "end"]
    ledger.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = run_cli_subprocess("resume=last", *places(demo_data, trained)[:3], env=environment)
    assert done.code == 0, done.stderr
    assert json.loads(ledger.read_text("utf-8").splitlines()[-1])["event"] == "end"


def test_load_without_the_package_names_the_missing_class(trained):
    with pytest.raises(CheckpointError, match=r"names the model 'example_matcher'; .*install the package that regis"):
        tangka_match.load(only(trained, "checkpoints/*/*/best.ckpt"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model._target_=helpers.unregistered.OtherVSE", "neither a model of tangka_match nor registered, so"),
        ("data.tokenizer._target_=helpers.unregistered.Letters", "name 'letters', under which it is not registered"),
    ],
)
def test_unregistered_classes_are_refused_before_training(plugin, override, message, demo_data, tmp_path):
    words = [word for word in RUN if not word.startswith(("model=", "data/tokenizer="))]
    done = run_cli_in_process(*words, "model=vse_tiny", override, *places(demo_data, tmp_path))
    assert done.code == 2
    assert message in done.stderr
    assert not (tmp_path / "runs").exists()
