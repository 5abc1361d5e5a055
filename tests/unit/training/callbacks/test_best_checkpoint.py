import shutil

import pytest
import torch

from helpers.small_runs import quiet_trainer, small_data, small_module
from tangka_match.training import module
from tangka_match.training.callbacks import BestCheckpoint


@pytest.fixture
def fit(monkeypatch):
    """Train for some epochs whose recalls are given."""

    def run(root, recalls, epochs, resume=None):
        coming = iter(recalls)
        monkeypatch.setattr(module, "summarise", lambda ranks: {"mean_r1": next(coming)})
        data = small_data(root)
        data.setup("fit")
        trainer = quiet_trainer(max_epochs=epochs, callbacks=[BestCheckpoint(root / "best")])
        trainer.fit(small_module(), datamodule=data, ckpt_path=resume)
        return trainer

    return run


def best_epoch(folder):
    return torch.load(folder / "best" / "best.ckpt", weights_only=True)["epoch"]


def test_the_highest_recall_is_kept(fit, tmp_path):
    fit(tmp_path, [1.0, 3.0, 2.0], epochs=3)
    assert best_epoch(tmp_path) == 1


def test_a_worse_epoch_does_not_replace_the_best_after_the_folder_has_moved(fit, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    fit(before, [1.0, 3.0], epochs=2).save_checkpoint(before / "last.ckpt")
    shutil.move(before, after)
    fit(after, [2.0], epochs=3, resume=after / "last.ckpt")
    assert best_epoch(after) == 1


def test_a_better_epoch_does(fit, tmp_path):
    fit(tmp_path, [1.0, 3.0], epochs=2).save_checkpoint(tmp_path / "last.ckpt")
    fit(tmp_path, [4.0], epochs=3, resume=tmp_path / "last.ckpt")
    assert best_epoch(tmp_path) == 2
