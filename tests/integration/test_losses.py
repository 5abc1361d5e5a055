"""Training with each loss from the command line: logged parts and a checkpoint that loads."""

import math

import pytest

from helpers.cli import run_cli_in_process
from tangka_match.records.ledger import read_ledger
from tangka_match.retrieval.metadata import read_checkpoint

from .conftest import places

QUEUE = ("+loss@loss.parts.queue=momentum_queue", "+loss.weights.queue=0.5", "loss.parts.queue.queue_size=48")
LOSSES = {
    "multi_positive": (),
    "soft_label": (),
    "sigmoid": (),
    "hal": (),
    "alignment_uniformity": (),
    "momentum_queue": (),
    "word_prediction": (),
    "blend": QUEUE,
}
PARTS = {
    "alignment_uniformity": {"alignment", "uniformity"},
    "blend": {"info_nce", "uniform_alignment", "uniform_uniformity", "queue"},
    "word_prediction": {"info_nce", "words"},
}


def run_of(folder, loss, demo_data, *words):
    words = ("+experiment=debug", f"loss={loss}", *LOSSES[loss], *words)
    return run_cli_in_process(*words, "logger=none", *places(demo_data, folder))


@pytest.mark.parametrize("loss", LOSSES)
def test_run_with_each_loss(demo_data, tmp_path, loss):
    done = run_of(tmp_path, loss, demo_data, "trainer.max_steps=3")
    assert done.code == 0, done.stderr
    (ledger,) = tmp_path.glob("runs/*/ledger.jsonl")
    metrics = [event["values"] for event in read_ledger(ledger) if event["event"] == "metrics"]
    seen = {name: value for values in metrics for name, value in values.items()}
    assert math.isfinite(seen["train/loss"])
    assert math.isfinite(seen["val/loss"])
    parts = PARTS.get(loss, set())
    assert {name for name in seen if name.startswith("train/grad_share_")} == {f"train/grad_share_{p}" for p in parts}
    assert all(seen[f"train/grad_share_{part}"] > 0 for part in parts)
    (best,) = tmp_path.glob("checkpoints/*/*/best.ckpt")
    held = {name.split(".")[0] for name in read_checkpoint(best)["state_dict"]}
    assert ("momentum" in held) == (loss in ("momentum_queue", "blend"))


def test_queue_of_another_dimension_is_reported_in_one_line(demo_data, tmp_path):
    done = run_of(tmp_path, "momentum_queue", demo_data, "loss.embed_dim=7")
    assert done.code == 2
    assert "ConfigError: loss MomentumQueueLoss: embed_dim is 7" in done.stderr
