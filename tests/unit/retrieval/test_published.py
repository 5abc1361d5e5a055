import argparse
from pathlib import Path

import pytest
import torch

from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import CheckpointError
from tangka_match.models import SGRAF
from tangka_match.retrieval.metadata import METADATA_KEY, make_metadata
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
# Options that model.py and evaluation.py of the published code read.
REQUIRED_OPTIONS = set(OPTIONS) | {
    "data_path",
    "data_name",
    "vocab_path",
    "vocab_size",
    "batch_size",
    "workers",
    "grad_clip",
    "margin",
    "max_violation",
    "learning_rate",
}


class Malicious:
    """Object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def published(path, **options):
    """Write a checkpoint as the published code does, with random weights; return the model."""
    torch.manual_seed(0)
    network = SGRAF(
        vocab_size=len(WORDS),
        feature_dim=8,
        num_regions=36,
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


def test_from_published_keeps_weights_sizes_and_switches(tmp_path):
    network = published(tmp_path / "model_best.pth.tar")
    ours = from_published(tmp_path / "model_best.pth.tar", WORDS)
    for key, value in network.state_dict().items():
        assert torch.equal(ours["state_dict"][f"matcher.{key}"], value)
    metadata = ours[METADATA_KEY]
    assert metadata["model"]["normalise_images"] is True
    assert metadata["model"]["normalise_texts"] is False
    assert (metadata["num_regions"], metadata["feature_dim"], ours["global_step"]) == (36, 8, 70)
    assert metadata["tokenizer"]["keep_punctuation"] is True


def test_round_trip_keeps_the_checkpoint(tmp_path):
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


def test_other_vocabulary_is_refused(tmp_path):
    published(tmp_path / "theirs")
    with pytest.raises(CheckpointError, match="vectors for 6 words, but the vocabulary holds 5"):
        from_published(tmp_path / "theirs", Vocabulary(["度母"]))


def test_file_that_runs_code_is_refused_without_running_it(tmp_path):
    torch.save({"epoch": Malicious(tmp_path / "ran")}, tmp_path / "theirs")
    with pytest.raises(CheckpointError, match="refused, because it holds more than weights"):
        from_published(tmp_path / "theirs", WORDS)
    assert not (tmp_path / "ran").exists()


def test_truncated_file_is_refused(tmp_path):
    published(tmp_path / "theirs")
    whole = (tmp_path / "theirs").read_bytes()
    (tmp_path / "theirs").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="theirs: damaged or half-written"):
        from_published(tmp_path / "theirs", WORDS)


def test_flipped_bit_in_a_weight_is_refused(tmp_path):
    published(tmp_path / "theirs")
    content = bytearray((tmp_path / "theirs").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "theirs").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged or half-written.*checksum"):
        from_published(tmp_path / "theirs", WORDS)


def test_state_dicts_of_another_model_are_refused(tmp_path):
    content = {"epoch": 0, "model": [{}, {}, {}], "opt": argparse.Namespace(**OPTIONS), "Eiters": 0}
    torch.save(content, tmp_path / "theirs")
    with pytest.raises(CheckpointError, match=r"lack embed.weight and v_global_w\.embedding_local\.1\.weight"):
        from_published(tmp_path / "theirs", WORDS)


def test_missing_options_are_named(tmp_path):
    published(tmp_path / "theirs")
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(tmp_path / "theirs", weights_only=True)
    del content["opt"].sim_dim
    torch.save(content, tmp_path / "theirs")
    with pytest.raises(CheckpointError, match="options lack sim_dim"):
        from_published(tmp_path / "theirs", WORDS)


def test_to_published_writes_all_options_of_the_published_code(tmp_path):
    published(tmp_path / "theirs", data_name="f30k_precomp", grad_clip=9.0)
    ours = from_published(tmp_path / "theirs", WORDS)
    assert vars(_published_options(ours, tmp_path))["data_name"] == "f30k_precomp"
    assert vars(_published_options(ours, tmp_path))["grad_clip"] == 9.0
    del ours[METADATA_KEY]["published"]  # a checkpoint of our own training, which omits defaults of the model
    for name in ("normalise_images", "num_layers"):
        del ours[METADATA_KEY]["model"][name]
    options = vars(_published_options(ours, tmp_path))
    assert options.keys() >= REQUIRED_OPTIONS
    assert (options["no_imgnorm"], options["num_layers"], options["grad_clip"]) == (False, 1, 2.0)


def _published_options(ours, folder):
    torch.save(ours, folder / "ours.ckpt")
    return to_published(folder / "ours.ckpt")["opt"]


def test_to_published_refuses_other_numbers_of_regions(tmp_path):
    published(tmp_path / "theirs")
    ours = from_published(tmp_path / "theirs", WORDS)
    ours[METADATA_KEY]["num_regions"] = 35
    torch.save(ours, tmp_path / "ours.ckpt")
    with pytest.raises(CheckpointError, match="has 35 regions per image; the published code supports only 36"):
        to_published(tmp_path / "ours.ckpt")


@pytest.mark.parametrize("setting", [{"reasoning": "both"}, {"global_share": 0.5}])
def test_to_published_refuses_settings_that_only_our_model_has(tmp_path, setting):
    published(tmp_path / "theirs")
    ours = from_published(tmp_path / "theirs", WORDS)
    ours[METADATA_KEY]["model"] |= setting
    torch.save(ours, tmp_path / "ours.ckpt")
    with pytest.raises(CheckpointError, match="supports reasoning sgr or saf, without a global branch"):
        to_published(tmp_path / "ours.ckpt")


def test_other_checkpoint_is_refused(tmp_path):
    torch.save({"model_state_dict": {}}, tmp_path / "best_model.pth")
    with pytest.raises(CheckpointError, match=r"not a checkpoint of the published SGRAF.*found \['model_state_dict'\]"):
        from_published(tmp_path / "best_model.pth", WORDS)


def test_to_published_refuses_other_models(tmp_path):
    metadata = make_metadata(
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
    torch.save({"state_dict": {}, METADATA_KEY: metadata}, tmp_path / "best.ckpt")
    with pytest.raises(CheckpointError, match=r"holds a tangka_match.models.VSE; .* supports only SGRAF"):
        to_published(tmp_path / "best.ckpt")
