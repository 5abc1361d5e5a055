import pytest
import torch
from torch import nn

from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import CheckpointError
from tangka_match.retrieval.passport import PASSPORT_FORMAT, PASSPORT_KEY
from tangka_match.training.initial_weights import InitialWeights, word_axes_of

OLD, NEW = Vocabulary(["佛", "莲花", "云"]), Vocabulary(["云", "金刚", "佛"])
MODEL = {"_target_": "a.Model"}


class Words(nn.Module):
    """Rows of words, columns of words with two hash buckets behind them, and an image side."""

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
    passport = {
        "format": PASSPORT_FORMAT,
        "run_id": "r1",
        "model": {"_target_": target},
        "vocabulary": vocabulary.to_dict(),
    }
    weights = {} if model is None else {f"matcher.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": {**weights, "loss.logit_scale": torch.ones(1)}, PASSPORT_KEY: passport}, path)
    return path


def test_word_axes_are_found_wherever_the_words_are():
    assert built(OLD)[1] == {"embed.weight": 0, "columns": 1}


def test_rows_of_words_follow_their_word_and_new_words_stay_as_initialised(tmp_path):
    """Old ids: 佛 4, 莲花 5, 云 6. New ids: 云 4, 金刚 5, 佛 6; the two hash buckets stand at the end of both."""
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


def test_another_shape_is_left_and_said(tmp_path):
    start = InitialWeights.read(write(tmp_path / "best.ckpt", numbered(built(OLD)[0])), MODEL)
    new, axes = built(OLD, num_regions=2)
    transfers = {t.name: t for t in start.copy_to(new, axes, OLD)}
    assert transfers["position"][1:] == ("as usual", "(3,) in the checkpoint, (2,) here", 0, 2)
    assert torch.equal(new.position, torch.zeros(2))


def test_a_rehearsal_without_memory_says_the_same(tmp_path):
    start = InitialWeights.read(write(tmp_path / "best.ckpt", built(OLD)[0]), MODEL)
    real, axes = built(NEW)
    with torch.device("meta"):
        rehearsed = built(NEW)[0]
    assert start.copy_to(rehearsed, axes, NEW) == start.copy_to(real, axes, NEW)


def test_a_checkpoint_that_holds_hardly_anything_is_refused(tmp_path):
    start = InitialWeights.read(write(tmp_path / "best.ckpt", built(OLD)[0]), MODEL)
    new, axes = built(OLD, feature_dim=90)
    with pytest.raises(CheckpointError, match=r"(?s)only \d+% of this model.*image\.weight: \(4, 5\) in the check.*90"):
        start.copy_to(new, axes, OLD)
    with pytest.raises(CheckpointError, match="only 0% of this model"):
        InitialWeights.read(write(tmp_path / "none.ckpt"), MODEL).copy_to(*built(OLD), OLD)


def test_another_class_is_refused(tmp_path):
    path = write(tmp_path / "best.ckpt", built(OLD)[0], target="a.Other")
    with pytest.raises(CheckpointError, match=r"init_from=.*it holds a a\.Other, and this run trains a a\.Model"):
        InitialWeights.read(path, MODEL)
