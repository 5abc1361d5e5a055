"""Training and evaluation with a pretrained text encoder through the command line."""

import shutil

import pytest
import torch

import tangka_match
from helpers.cli import run_cli_in_process
from helpers.tiny_pretrained import write_bert
from tangka_match.evaluate import main as evaluate
from tangka_match.retrieval.metadata import read_checkpoint

WEIGHT = "encoder.layer.0.output.dense.weight"


def train(paths, folder, *words):
    return run_cli_in_process(
        *("data=demo_small", "data.writer.thumbnails=false", "data/tokenizer=pieces", "model=bert_vse"),
        *(f"model.text_model={folder}", "model.embed_dim=8", "model.thaw_at=0.5", "loss=info_nce"),
        *("trainer=debug", "trainer.max_steps=4", "scheduler=constant", "scheduler.warmup_steps=1", "logger=none"),
        *("training.early_stopping_patience=null", *paths, *words),
    )


@pytest.fixture
def paths(tmp_path, demo_data):
    return [f"paths.runs={tmp_path}/runs", f"paths.checkpoints={tmp_path}/checkpoints", f"paths.data={demo_data}"]


def only(tmp_path, name):
    (found,) = (tmp_path / "checkpoints").glob(f"*/*/{name}")
    return found


def test_checkpoint_of_a_fine_tuned_encoder_loads_without_the_model_folder(paths, tmp_path, demo_data):
    folder = write_bert(tmp_path / "bert")
    done = train(paths, folder)
    assert done.code == 0, done.stderr
    assert not torch.equal(trained_weight(tmp_path), torch_weights(folder)[WEIGHT])
    shutil.rmtree(folder)
    checkpoint = only(tmp_path, "best.ckpt")
    out = tmp_path / "out"
    root = demo_data / "demo_small"
    judged = run_cli_in_process(
        f"checkpoint={checkpoint}", f"data.root={root}", "split=test", f"out={out}", main=evaluate
    )
    assert judged.code == 0, judged.stderr
    assert (out / "metrics.json").is_file()
    matcher = tangka_match.load(checkpoint)
    assert matcher.tokenizer("绿度母") == ["绿", "度", "母"]
    assert matcher.metadata["model"]["text_model"] is None


def test_unknown_name_gives_one_message(paths, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    done = train(paths, "nobody/no-such-bert")
    assert done.code == 2
    assert done.stderr.count("hf download nobody/no-such-bert --local-dir") == 1  # not repeated by the tokenizer
    assert "Retrying" not in done.stderr
    assert "Traceback" not in done.stderr


def test_frozen_encoder_keeps_its_weights(paths, tmp_path):
    folder = write_bert(tmp_path / "bert")
    assert train(paths, folder, "model.thaw_at=1").code == 0
    assert torch.equal(trained_weight(tmp_path), torch_weights(folder)[WEIGHT])


def trained_weight(tmp_path):
    return read_checkpoint(only(tmp_path, "last.ckpt"))["state_dict"][f"matcher.text_tower.transformer.{WEIGHT}"]


def torch_weights(folder):
    from safetensors.torch import load_file  # noqa: PLC0415

    return load_file(folder / "model.safetensors")
