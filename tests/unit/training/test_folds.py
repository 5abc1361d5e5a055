"""Training with a held-out fold: it is scored once, at the end, and influences nothing before."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.precomp import write_dataset
from helpers.small_runs import BATCH_SIZE, small_plan
from tangka_match.data import folds
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.metrics import summarise
from tangka_match.metrics.ranks import Ranks
from tangka_match.records.ledger import read_ledger
from tangka_match.retrieval.evaluation_files import read_ranks_table
from tangka_match.retrieval.metadata import read_checkpoint
from tangka_match.training import runner
from tangka_match.training.runner import train

FOLDS, FOLD = 4, 1


@pytest.fixture(autouse=True)
def _independent(monkeypatch):
    monkeypatch.setattr(folds, "group_images", lambda pool: np.arange(pool.num_images))
    monkeypatch.setattr(runner, "keep_freed_memory", lambda: None)
    yield
    torch.use_deterministic_algorithms(False)


def train_fold(root, data_root, epochs=4):
    data = RegionTextDataModule(str(data_root), batch_size=BATCH_SIZE, folds=FOLDS, fold=FOLD, fold_val_share=0.3)
    return train(replace(small_plan(root, max_epochs=epochs), data=data)), data


@pytest.fixture
def data_root(tmp_path):
    return write_dataset(tmp_path / "set", train=28, val=12)


def spoil_held_out(data_root, held_out):
    """Replace features and captions of the held-out images by noise."""
    for split, stem in (("train", "train"), ("val", "dev")):
        rows = [int(name.partition(":")[2]) for name in held_out.image_ids if name.startswith(f"{split}:")]
        features = np.load(data_root / f"{stem}_ims.npy")
        features[rows] = np.random.default_rng(0).normal(size=features[rows].shape)
        np.save(data_root / f"{stem}_ims.npy", features)
        captions = (data_root / f"{stem}_caps.txt").read_text("utf-8").splitlines()
        for row in rows:
            captions[row] = f"噪声{row}"
        (data_root / f"{stem}_caps.txt").write_text("".join(f"{text}\n" for text in captions), "utf-8")


def test_held_out_fold_influences_neither_weights_nor_epoch(tmp_path, data_root):
    first, data = train_fold(tmp_path / "a", data_root)
    spoil_held_out(data_root, data.held_out)
    second, _ = train_fold(tmp_path / "b", data_root)
    assert first.held_out.metrics != second.held_out.metrics
    assert (first.metrics, first.best_epoch) == (second.metrics, second.best_epoch)
    one, other = (read_checkpoint(result.folder.best)["state_dict"] for result in (first, second))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_records_hold_the_validation_part_and_the_held_out_fold(tmp_path, data_root):
    result, data = train_fold(tmp_path, data_root)
    written = json.loads((result.folder.path / "result.json").read_text("utf-8"))
    assert written["val_metrics"] == result.metrics
    assert (written["num_images"], written["held_out"]["num_images"]) == (data.val.num_images, 10)
    assert (written["held_out"]["folds"], written["held_out"]["fold"]) == (FOLDS, FOLD)
    validated = [
        event["values"]["val/mean_r1"]
        for event in read_ledger(result.folder.ledger)
        if event["event"] == "metrics" and "val/mean_r1" in event["values"]
    ]
    assert result.metrics["mean_r1"] == pytest.approx(max(validated), abs=1e-4)
    table = read_ranks_table(result.folder.ranks)
    assert {query.image for query in table} == set(data.held_out.image_ids)
    ranks = Ranks(*(torch.tensor([r for query, r in table.items() if query.direction == d]) for d in ("i2t", "t2i")))
    assert summarise(ranks) == written["held_out"]["metrics"]
