"""Runs that start from another run's checkpoint, through ``train``."""

import json
from dataclasses import replace

import pytest
import torch

from helpers.small_runs import small_plan
from helpers.stub_matchers import PooledMatcher
from tangka_match.errors import CheckpointError, ConfigError
from tangka_match.retrieval.passport import PASSPORT_KEY, read_checkpoint
from tangka_match.training import runner
from tangka_match.training.callbacks import ValidationLines
from tangka_match.training.records.ledger import read_ledger
from tangka_match.training.records.run_folder import RUN_ID_VARIABLE, RunFolder
from tangka_match.training.runner import train


@pytest.fixture(autouse=True)
def _leave_the_process_as_it_was(monkeypatch):
    for name in (RUN_ID_VARIABLE, "CUBLAS_WORKSPACE_CONFIG", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(runner, "keep_freed_memory", lambda: None)
    yield
    torch.use_deterministic_algorithms(False)


def plan_on(root, captions, **settings):
    """A plan on its own data set, whose training captions are these, repeated."""
    plan = small_plan(root, **settings)
    lines = [captions[n % len(captions)] for n in range(12)]
    (root / "data" / "train_caps.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return plan


@pytest.fixture
def first(tmp_path):
    return train(plan_on(tmp_path / "first", ["佛陀 莲花", "祥云 宝瓶"], ema_decay=0.5))


def only_run(root):
    (path,) = (root / "runs").iterdir()
    return RunFolder(path.name, path, root / "checkpoints" / "small" / path.name)


def test_a_run_starts_from_the_averaged_weights_and_keeps_the_words(tmp_path, first, capsys):
    plan = plan_on(tmp_path / "second", ["祥云 山水", "佛陀 头光"], init_from=first.folder.best)
    seen = {}

    def build(**sizes):
        seen["matcher"] = PooledMatcher(sizes["feature_dim"], 4, sizes["vocab_size"])
        return seen["matcher"]

    def optimizer(groups):
        seen["start"] = {name: value.clone() for name, value in seen["matcher"].state_dict().items()}
        return torch.optim.SGD(groups, lr=0.5)

    result = train(replace(plan, build_model=build, optimizer=optimizer))
    old = read_checkpoint(first.folder.best)
    old_words, words = old[PASSPORT_KEY]["vocabulary"]["word2idx"], plan.data.vocabulary.words
    assert set(old_words) < set(words)
    assert words[4:6] == ("祥云", "山水")  # those of its own captions come first
    for row, word in enumerate(words):
        if word in old_words:
            assert torch.equal(seen["start"]["words"][row], old["state_dict"]["matcher.words"][old_words[word]])
    assert torch.equal(seen["start"]["project"], old["state_dict"]["matcher.project"])
    meta = json.loads((result.folder.checkpoints / "meta.json").read_text("utf-8"))
    assert meta["init_from"]["run_id"] == first.folder.run_id
    assert read_ledger(result.folder.ledger)[0]["init_from"] == meta["init_from"]
    assert "moved by word" in capsys.readouterr().out


def test_it_is_resumed_without_the_first_checkpoint_and_ends_with_the_same_bits(tmp_path, first, monkeypatch):
    captions = ["祥云 山水", "佛陀 头光"]
    whole = train(plan_on(tmp_path / "whole", captions, init_from=first.folder.best))
    saw_one = ValidationLines.on_validation_end

    def power_cut(self, trainer, module):
        saw_one(self, trainer, module)
        if trainer.current_epoch == 1:
            raise OSError("power cut")

    monkeypatch.setattr(ValidationLines, "on_validation_end", power_cut)
    with pytest.raises(OSError, match="power cut"):
        train(plan_on(tmp_path / "cut", captions, init_from=first.folder.best))
    monkeypatch.undo()
    monkeypatch.setattr(runner, "keep_freed_memory", lambda: None)
    gone = first.folder.best
    gone.unlink()
    resumed = train(plan_on(tmp_path / "cut", captions, init_from=gone), resume=only_run(tmp_path / "cut"))
    ours, theirs = read_checkpoint(resumed.folder.last), read_checkpoint(whole.folder.last)
    assert ours[PASSPORT_KEY]["vocabulary"] == theirs[PASSPORT_KEY]["vocabulary"]
    assert all(torch.equal(ours["state_dict"][name], theirs["state_dict"][name]) for name in theirs["state_dict"])
    meta = json.loads((resumed.folder.checkpoints / "meta.json").read_text("utf-8"))
    assert meta["init_from"]["run_id"] == first.folder.run_id


def test_what_cannot_be_a_start_leaves_no_run_behind(tmp_path, first):
    plan = plan_on(tmp_path / "second", ["祥云"], init_from=first.folder.best)
    with pytest.raises(CheckpointError, match=r"this run trains a x\.Other"):
        train(replace(plan, model={"_target_": "x.Other"}))
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        train(small_plan(tmp_path / "second", init_from=tmp_path / "none.ckpt"))
    wide = replace(plan, build_model=lambda **sizes: PooledMatcher(sizes["feature_dim"], 9, sizes["vocab_size"]))
    with pytest.raises(CheckpointError, match="only 0% of this model"):
        train(wide)
    assert not (tmp_path / "second" / "runs").exists()


class Fitted(PooledMatcher):
    def fit(self, images, captions):
        return {}


def test_a_model_fitted_in_closed_form_is_refused(tmp_path, first):
    plan = plan_on(tmp_path / "second", ["祥云"], init_from=first.folder.best)
    fitted = replace(plan, build_model=lambda **sizes: Fitted(sizes["feature_dim"], 4, sizes["vocab_size"]))
    with pytest.raises(ConfigError, match="Fitted is fitted to the training pairs in closed form"):
        train(fitted)


def test_word_vectors_would_replace_the_learnt_ones(tmp_path, first):
    plan = plan_on(tmp_path / "second", ["祥云"], init_from=first.folder.best)
    (tmp_path / "vectors.txt").write_text("祥云 1 2 3 4\n", "utf-8")
    plan.data.word_vectors_path = str(tmp_path / "vectors.txt")
    with pytest.raises(ConfigError, match=r"init_from=.*best\.ckpt and data\.word_vectors_path=.*vectors\.txt: "):
        train(plan)
    assert not (tmp_path / "second" / "runs").exists()
