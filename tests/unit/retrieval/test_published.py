import argparse
from pathlib import Path

import pytest
import torch

from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import CheckpointError
from tangka_match.models import SGRAF
from tangka_match.retrieval.passport import PASSPORT_KEY, make_passport
from tangka_match.retrieval.published import PARTS, from_published, to_published

WORDS = Vocabulary(["度母", "莲花"])
OPTIONS = {
    "img_dim": 8,
    "embed_size": 6,
    "word_dim": 5,
    "sim_dim": 4,
    "num_layers": 1,
    "bi_gru": True,
    "sgr_step": 2,
    "module_name": "SGR",
    "no_imgnorm": False,
    "no_txtnorm": True,
}


class Malicious:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def published(path, **options):
    """A file as the published code writes one, of a network with random weights; returns the network."""
    torch.manual_seed(0)
    network = SGRAF(
        vocab_size=len(WORDS),
        feature_dim=8,
        num_regions=3,
        embed_dim=6,
        word_dim=5,
        sim_dim=4,
        graph_steps=2,
        normalise_texts=False,
    )
    states = [getattr(network, part).state_dict() for part in PARTS]
    content = {"epoch": 7, "model": states, "best_rsum": 1.0, "opt": argparse.Namespace(**OPTIONS | options)}
    torch.save(content | {"Eiters": 70}, path)
    return network


def test_weights_sizes_and_switches_come_over(tmp_path):
    network = published(tmp_path / "model_best.pth.tar")
    ours = from_published(tmp_path / "model_best.pth.tar", WORDS)
    for key, value in network.state_dict().items():
        assert torch.equal(ours["state_dict"][f"matcher.{key}"], value)
    passport = ours[PASSPORT_KEY]
    assert passport["model"]["normalise_images"] is True
    assert passport["model"]["normalise_texts"] is False
    assert (passport["num_regions"], passport["feature_dim"], ours["global_step"]) == (3, 8, 70)
    assert passport["tokenizer"]["keep_punctuation"] is True


def test_there_and_back_again(tmp_path):
    published(tmp_path / "theirs")
    torch.save(from_published(tmp_path / "theirs", WORDS), tmp_path / "ours.ckpt")
    back = to_published(tmp_path / "ours.ckpt")
    with torch.serialization.safe_globals([argparse.Namespace]):
        before = torch.load(tmp_path / "theirs", weights_only=True)
    assert (back["epoch"], back["Eiters"]) == (7, 70)
    assert {key: vars(back["opt"])[key] for key in OPTIONS} == OPTIONS
    for old, new in zip(before["model"], back["model"], strict=True):
        assert list(old) == list(new)
        assert all(torch.equal(old[key], new[key]) for key in old)


def test_another_vocabulary(tmp_path):
    published(tmp_path / "theirs")
    with pytest.raises(CheckpointError, match="vectors for 6 words, but the vocabulary holds 5"):
        from_published(tmp_path / "theirs", Vocabulary(["度母"]))


def test_a_file_that_would_run_code_is_refused_and_not_run(tmp_path):
    torch.save({"epoch": Malicious(tmp_path / "ran")}, tmp_path / "theirs")
    with pytest.raises(CheckpointError, match="refused, because it holds more than weights"):
        from_published(tmp_path / "theirs", WORDS)
    assert not (tmp_path / "ran").exists()


def test_half_a_file(tmp_path):
    published(tmp_path / "theirs")
    whole = (tmp_path / "theirs").read_bytes()
    (tmp_path / "theirs").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="theirs: damaged or half-written"):
        from_published(tmp_path / "theirs", WORDS)


def test_another_kind_of_file(tmp_path):
    torch.save({"model_state_dict": {}}, tmp_path / "best_model.pth")
    with pytest.raises(CheckpointError, match=r"not a checkpoint of the published SGRAF.*found \['model_state_dict'\]"):
        from_published(tmp_path / "best_model.pth", WORDS)


def test_only_an_sgraf_goes_back(tmp_path):
    passport = make_passport(
        name="vse",
        run_id="run",
        model={"_target_": "tangka_match.models.VSE"},
        vocabulary=WORDS.to_dict(),
        vocabulary_fingerprint="",
        tokenizer={},
        max_tokens=9,
        num_regions=3,
        feature_dim=8,
        data_fingerprint="",
    )
    torch.save({"state_dict": {}, PASSPORT_KEY: passport}, tmp_path / "best.ckpt")
    with pytest.raises(CheckpointError, match=r"holds a tangka_match.models.VSE; the published code knows SGRAF"):
        to_published(tmp_path / "best.ckpt")
