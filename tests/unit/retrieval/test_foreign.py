from functools import partial

import pytest
import pytorch_lightning as pl
import torch

import tangka_match
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import CheckpointError
from tangka_match.models.registry import build_matcher
from tangka_match.retrieval.foreign import describe_foreign, from_foreign, without_wrapper_prefix

WORDS = Vocabulary(["度母", "莲花"])
MODEL = {"_target_": "tangka_match.models.SGRAF", "reasoning": "saf", "embed_dim": 6, "word_dim": 5, "sim_dim": 4}
SIZES = {"num_regions": 3, "feature_dim": 8}


def their_names(weights):
    """Rename our weights as another program would, and add a head that our model lacks."""
    renamed = {
        key.replace("img_enc.", "visual.").replace("txt_enc.embed.", "words.").replace("txt_enc.cap_rnn.", "rnn."): v
        for key, v in weights.items()
    }
    return renamed | {"old_head.weight": torch.zeros(2, 2)}


MAPPING = {
    "visual.*": "img_enc.*",
    "words.weight": "txt_enc.embed.weight",
    "rnn.*": "txt_enc.cap_rnn.*",
    "sim_enc.*": "sim_enc.*",
    "old_head.*": None,
}


@pytest.fixture
def theirs(tmp_path):
    """Write a checkpoint of another program; return its path and the model with the same weights."""
    torch.manual_seed(0)
    network = build_matcher(MODEL, vocab_size=len(WORDS), **SIZES)
    content = {"epoch": 3, "model_state_dict": their_names(network.state_dict()), "optimizer_state_dict": {"state": {}}}
    torch.save(content, tmp_path / "best_model.pth")
    return tmp_path / "best_model.pth", network.eval()


def test_converted_model_gives_the_same_scores(theirs, tmp_path):
    path, network = theirs
    ours = from_foreign(path, WORDS, model=MODEL, weights=MAPPING, **SIZES)
    torch.save(ours, tmp_path / "ours.ckpt")
    matcher = tangka_match.load(tmp_path / "ours.ckpt")
    regions = torch.rand(2, 3, 8)
    ids = torch.tensor([[1, 4, 5, 2]])
    with torch.no_grad():
        images = network.encode_images(regions, torch.ones(2, 3, dtype=torch.bool))
        expected = network.similarity(images, network.encode_texts(ids, torch.ones(1, 4, dtype=torch.bool)))
    torch.testing.assert_close(matcher.similarity(regions, ["度母 莲花"]), expected)


def test_description_lists_keys_and_shapes(theirs):
    text = describe_foreign(theirs[0])
    assert "model_state_dict: " in text
    assert "  words.weight (6, 5)" in text
    assert "  old_head.weight (2, 2)" in text


def test_description_without_weights(tmp_path):
    torch.save({"history": [1, 2]}, tmp_path / "file.pth")
    assert describe_foreign(tmp_path / "file.pth") == "no named weights, only history"


def test_exact_name_precedes_pattern(theirs):
    mapping = MAPPING | {"visual.fc.bias": None}
    with pytest.raises(CheckpointError, match=r"nothing is mapped to img_enc\.fc\.bias \(6,\)"):
        from_foreign(theirs[0], WORDS, model=MODEL, weights=mapping, **SIZES)


def test_exact_name_precedes_pattern_of_the_same_length(theirs):
    content = torch.load(theirs[0], weights_only=True)
    content["model_state_dict"]["h.w"] = torch.zeros(1)
    torch.save(content, theirs[0])
    mapping = MAPPING | {"h.*": "img_enc.h.*", "h.w": None}
    with pytest.raises(CheckpointError, match=r"fit:\n  h\.\* is mapped, but the file has no such weight$"):
        from_foreign(theirs[0], WORDS, model=MODEL, weights=mapping, **SIZES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"old_head.*": "img_enc.old.*"}, r"old_head.weight is mapped to img_enc.old.weight, which the model does not"),
        ({"words.weight": "img_enc.fc.weight"}, r"words.weight is \(6, 5\), but img_enc.fc.weight is \(6, 8\)"),
        ({"words.weight": "img_enc.fc.weight"}, r"img_enc.fc.weight is given 2 times"),
        ({"words.weight": "img_enc.fc.weight"}, r"nothing is mapped to txt_enc.embed.weight \(6, 5\)"),
        ({"gone.*": None}, r"gone.\* is mapped, but the file has no such weight"),
    ],
)
def test_all_faults_of_a_mapping_are_listed(theirs, change, message):
    with pytest.raises(CheckpointError, match=f"(?s)best_model.pth: the mapping does not fit:.*{message}"):
        from_foreign(theirs[0], WORDS, model=MODEL, weights=MAPPING | change, **SIZES)


def test_unmapped_weight_is_an_error(theirs):
    mapping = {key: value for key, value in MAPPING.items() if key != "old_head.*"}
    with pytest.raises(CheckpointError, match=r"old_head.weight \(2, 2\) is not mapped; map it to null to drop it"):
        from_foreign(theirs[0], WORDS, model=MODEL, weights=mapping, **SIZES)


def test_wrong_state_lists_where_weights_are(theirs):
    with pytest.raises(CheckpointError, match=r"no weights at state='net'; weights are at: model_state_dict"):
        from_foreign(theirs[0], WORDS, model=MODEL, weights=MAPPING, state="net", **SIZES)


def test_weights_may_be_at_the_top_level(theirs, tmp_path):
    torch.save(their_names(theirs[1].state_dict()), tmp_path / "bare.pth")
    ours = from_foreign(tmp_path / "bare.pth", WORDS, model=MODEL, weights=MAPPING, state="", **SIZES)
    assert torch.equal(ours["state_dict"]["matcher.img_enc.fc.weight"], theirs[1].img_enc.fc.weight)


def test_list_of_state_dicts_is_named_by_position(theirs, tmp_path):
    states = [{}, {}]
    for key, value in their_names(theirs[1].state_dict()).items():
        states["rnn" in key][f"module.{key}"] = value
    torch.save({"model": states}, tmp_path / "list.pth")
    mapping = {f"{int('rnn' in key)}.{key}": target for key, target in MAPPING.items()}
    ours = from_foreign(tmp_path / "list.pth", WORDS, model=MODEL, weights=mapping, state="model", **SIZES)
    assert torch.equal(ours["state_dict"]["matcher.txt_enc.cap_rnn.bias_hh_l0"], theirs[1].txt_enc.cap_rnn.bias_hh_l0)
    assert "model.1: 8 tensors\n  rnn.weight_ih_l0 (18, 5)" in describe_foreign(tmp_path / "list.pth")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_removed(prefix):
    weights = {f"{prefix}fc.weight": torch.zeros(1), f"{prefix}module.bias": torch.zeros(2)}
    assert list(without_wrapper_prefix(weights)) == ["fc.weight", "module.bias"]


def test_prefix_of_some_weights_stays():
    assert list(without_wrapper_prefix({"module.a": torch.zeros(1), "b": torch.zeros(1)})) == ["module.a", "b"]


def test_batch_norm_without_counter(theirs, tmp_path):
    """torch before 0.4.1 did not save ``num_batches_tracked``."""
    weights = {key: value for key, value in their_names(theirs[1].state_dict()).items() if "num_batches" not in key}
    torch.save({"model_state_dict": weights}, tmp_path / "old.pth")
    ours = from_foreign(tmp_path / "old.pth", WORDS, model=MODEL, weights=MAPPING, **SIZES)["state_dict"]
    assert sum("num_batches_tracked" in key for key in ours) > 0


def test_lightning_checkpoint(theirs, tmp_path):
    """Written by Lightning itself, with hyper-parameters that hold a network and a partial, as many templates save."""

    class Module(pl.LightningModule):
        def __init__(self, net, optimizer):
            super().__init__()
            self.save_hyperparameters()
            self.net = net

    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(Module(theirs[1], partial(torch.optim.Adam, lr=0.1)))
    trainer.save_checkpoint(tmp_path / "epoch=3.ckpt")
    weights = {"net.*": "*"}
    ours = from_foreign(tmp_path / "epoch=3.ckpt", WORDS, model=MODEL, weights=weights, state="state_dict", **SIZES)
    assert torch.equal(ours["state_dict"]["matcher.img_enc.fc.weight"], theirs[1].img_enc.fc.weight)
