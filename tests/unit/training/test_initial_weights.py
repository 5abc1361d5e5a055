import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from helpers.small_runs import METADATA, small_plan
from helpers.stub_matchers import PooledMatcher
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import CheckpointError, ConfigError
from tangka_match.records.ledger import read_ledger
from tangka_match.records.run_folder import RUN_ID_VARIABLE, RunFolder
from tangka_match.retrieval.metadata import METADATA_KEY, read_checkpoint
from tangka_match.training import runner
from tangka_match.training.callbacks import ValidationLines
from tangka_match.training.initial_weights import InitialWeights, word_axes_of
from tangka_match.training.runner import train

OLD, NEW = Vocabulary(["佛", "莲花", "云"]), Vocabulary(["云", "金刚", "佛"])
MODEL = {"_target_": "a.Model"}


class Words(nn.Module):
    """Matcher with word rows, word columns followed by two hash buckets, and an image encoder."""

    def __init__(self, vocab_size, feature_dim, num_regions):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 2)
        self.columns = nn.Parameter(torch.zeros(3, vocab_size + 2))
        self.image = nn.Linear(feature_dim, 4)
        self.position = nn.Parameter(torch.zeros(num_regions))


def built(vocabulary, feature_dim=5, num_regions=3):
    sizes = {"vocab_size": len(vocabulary), "feature_dim": feature_dim, "num_regions": num_regions}
    return Words(**sizes), word_axes_of(Words, **sizes)[1]


def numbered(model):
    for place, value in enumerate(model.state_dict().values()):
        value.copy_(1000 * place + torch.arange(value.numel()).reshape(value.shape))
    return model


def write(path, model=None, target="a.Model", vocabulary=OLD):
    metadata = METADATA | {"run_id": "r1", "model": {"_target_": target}, "vocabulary": vocabulary.to_dict()}
    weights = {} if model is None else {f"matcher.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": {**weights, "loss.logit_scale": torch.ones(1)}, METADATA_KEY: metadata}, path)
    return path


def test_word_axes_are_found_on_any_axis():
    assert built(OLD)[1] == {"embed.weight": 0, "columns": 1}


def test_rows_are_matched_by_word_and_new_words_keep_their_initial_values(tmp_path):
    """Old ids: 佛 4, 莲花 5, 云 6. New ids: 云 4, 金刚 5, 佛 6; then two hash buckets in both."""
    old = numbered(built(OLD)[0])
    new, axes = built(NEW)
    untouched = new.embed.weight[5].clone()
    start = InitialWeights.read(write(tmp_path / "best.ckpt", old), MODEL)
    transfers = {t.name: t for t in start.copy_to(new, axes, NEW)}
    assert torch.equal(new.embed.weight[[0, 1, 2, 3, 4, 6]], old.embed.weight[[0, 1, 2, 3, 6, 4]])
    assert torch.equal(new.embed.weight[5], untouched)
    assert torch.equal(new.columns[:, [4, 6, 7, 8]], old.columns[:, [6, 4, 7, 8]])
    assert torch.equal(new.columns[:, 5], torch.zeros(3))
    assert torch.equal(new.image.weight, old.image.weight)
    assert transfers["embed.weight"][1:] == ("moved by word", "6 of 7 words", 12, 12)
    assert transfers["image.bias"][1:] == ("taken", "(4,)", 4, 4)


def test_tensor_of_another_shape_is_reported_and_not_copied(tmp_path):
    start = InitialWeights.read(write(tmp_path / "best.ckpt", numbered(built(OLD)[0])), MODEL)
    new, axes = built(OLD, num_regions=2)
    transfers = {t.name: t for t in start.copy_to(new, axes, OLD)}
    assert transfers["position"][1:] == ("as usual", "(3,) in the checkpoint, (2,) here", 0, 2)
    assert torch.equal(new.position, torch.zeros(2))


def test_meta_device_gives_the_same_report(tmp_path):
    start = InitialWeights.read(write(tmp_path / "best.ckpt", built(OLD)[0]), MODEL)
    real, axes = built(NEW)
    with torch.device("meta"):
        on_meta = built(NEW)[0]
    assert start.copy_to(on_meta, axes, NEW) == start.copy_to(real, axes, NEW)


def test_checkpoint_with_too_few_weights_is_refused(tmp_path):
    start = InitialWeights.read(write(tmp_path / "best.ckpt", built(OLD)[0]), MODEL)
    new, axes = built(OLD, feature_dim=90)
    with pytest.raises(CheckpointError, match=r"(?s)only \d+% of .*image\.weight: \(4, 5\) in the check.*90"):
        start.copy_to(new, axes, OLD)
    with pytest.raises(CheckpointError, match="only 0% of the weights of this model"):
        InitialWeights.read(write(tmp_path / "none.ckpt"), MODEL).copy_to(*built(OLD), OLD)


def test_checkpoint_of_another_class_is_refused(tmp_path):
    path = write(tmp_path / "best.ckpt", built(OLD)[0], target="a.Other")
    with pytest.raises(CheckpointError, match=r"init_from=.* holds a a\.Other, but this run trains a a\.Model"):
        InitialWeights.read(path, MODEL)


@pytest.fixture(autouse=True)
def _restore_process_settings(monkeypatch):
    for name in (RUN_ID_VARIABLE, "CUBLAS_WORKSPACE_CONFIG", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(runner, "keep_freed_memory", lambda: None)
    yield
    torch.use_deterministic_algorithms(False)


def plan_on(root, captions, **settings):
    """Plan on a data set with these training captions, repeated."""
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


def test_run_starts_from_the_averaged_weights_and_keeps_the_words(tmp_path, first, capsys):
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
    old_words, words = old[METADATA_KEY]["vocabulary"]["word2idx"], plan.data.vocabulary.words
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


def test_resume_is_exact_without_the_first_checkpoint(tmp_path, first, monkeypatch):
    captions = ["祥云 山水", "佛陀 头光"]
    whole = train(plan_on(tmp_path / "whole", captions, init_from=first.folder.best))
    on_validation_end = ValidationLines.on_validation_end

    def power_cut(self, trainer, module):
        on_validation_end(self, trainer, module)
        if trainer.current_epoch == 1:
            raise OSError("power cut")

    monkeypatch.setattr(ValidationLines, "on_validation_end", power_cut)
    with pytest.raises(OSError, match="power cut"):
        train(plan_on(tmp_path / "cut", captions, init_from=first.folder.best))
    monkeypatch.undo()
    monkeypatch.setattr(runner, "keep_freed_memory", lambda: None)
    removed = first.folder.best
    removed.unlink()
    resumed = train(plan_on(tmp_path / "cut", captions, init_from=removed), resume=only_run(tmp_path / "cut"))
    ours, theirs = read_checkpoint(resumed.folder.last), read_checkpoint(whole.folder.last)
    assert ours[METADATA_KEY]["vocabulary"] == theirs[METADATA_KEY]["vocabulary"]
    assert all(torch.equal(ours["state_dict"][name], theirs["state_dict"][name]) for name in theirs["state_dict"])
    meta = json.loads((resumed.folder.checkpoints / "meta.json").read_text("utf-8"))
    assert meta["init_from"]["run_id"] == first.folder.run_id


def test_unusable_checkpoint_creates_no_run_folder(tmp_path, first):
    plan = plan_on(tmp_path / "second", ["祥云"], init_from=first.folder.best)
    with pytest.raises(CheckpointError, match=r"this run trains a x\.Other"):
        train(replace(plan, model={"_target_": "x.Other"}))
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        train(small_plan(tmp_path / "second", init_from=tmp_path / "none.ckpt"))
    wide = replace(plan, build_model=lambda **sizes: PooledMatcher(sizes["feature_dim"], 9, sizes["vocab_size"]))
    with pytest.raises(CheckpointError, match="only 0% of the weights of this model"):
        train(wide)
    assert not (tmp_path / "second" / "runs").exists()


class Fitted(PooledMatcher):
    def fit(self, images, captions):
        return {}


def test_model_fitted_in_closed_form_is_refused(tmp_path, first):
    plan = plan_on(tmp_path / "second", ["祥云"], init_from=first.folder.best)
    fitted = replace(plan, build_model=lambda **sizes: Fitted(sizes["feature_dim"], 4, sizes["vocab_size"]))
    with pytest.raises(ConfigError, match="Fitted is fitted to the training pairs in closed form"):
        train(fitted)


def test_word_vectors_with_init_from_are_refused(tmp_path, first):
    plan = plan_on(tmp_path / "second", ["祥云"], init_from=first.folder.best)
    (tmp_path / "vectors.txt").write_text("祥云 1 2 3 4\n", "utf-8")
    plan.data.word_vectors_path = str(tmp_path / "vectors.txt")
    with pytest.raises(ConfigError, match=r"init_from=.*best\.ckpt and data\.word_vectors_path=.*vectors\.txt: "):
        train(plan)
    assert not (tmp_path / "second" / "runs").exists()
