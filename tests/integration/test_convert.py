"""``convert`` through its command line: checkpoints converted, evaluated, and converted back."""

import argparse
import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from helpers.bad_input import Bomb, assert_one_message
from helpers.cli import run_cli_in_process, run_cli_subprocess
from helpers.shared import SHARED, needs_shared
from helpers.small_checkpoints import write_checkpoint
from tangka_match.convert import main as convert
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.evaluate import main as evaluate
from tangka_match.models.registry import build_matcher

SPLITS = {"val": "dev", "test": "test"}
NAMES = ("r1", "r5", "r10", "median_rank", "mean_rank")


def convert_legacy(legacy, out, run=run_cli_in_process, vocab="mini_precomp_vocab.pkl", **how):
    words = (f"source={legacy / 'model_best.pth.tar'}", f"vocab={legacy / 'vocab' / vocab}", f"out={out}")
    done = run(*words, **(how or {"main": convert}))
    assert done.code == 0, done.stderr
    return done


@needs_shared
@pytest.mark.parametrize("reasoning", ["sgr", "saf"])
def test_published_checkpoint_reproduces_its_numbers_and_converts_back(reasoning, tmp_path):
    legacy = SHARED / f"fixtures/legacy_{reasoning}"
    ours = tmp_path / "ours.ckpt"
    convert_legacy(legacy, ours)
    for split in SPLITS:
        out = tmp_path / split
        words = (f"checkpoint={ours}", f"data.root={legacy / 'data/mini_precomp'}", f"split={split}", f"out={out}")
        assert run_cli_in_process(*words, main=evaluate).code == 0
        check_published_numbers(legacy, out, split)
    back = tmp_path / "back.pth.tar"
    done = run_cli_in_process(f"source={ours}", f"out={back}", "to=sgraf", main=convert)
    assert done.code == 0, done.stderr
    check_same_file(legacy / "model_best.pth.tar", back)
    words = json.loads((legacy / "vocab/mini_precomp_vocab.json").read_text("utf-8"))
    assert json.loads((tmp_path / "mini_precomp_vocab.json").read_text("utf-8"))["word2idx"] == words["word2idx"]


@needs_shared
def test_published_checkpoint_in_fresh_processes(tmp_path):
    legacy, ours, out = SHARED / "fixtures/legacy_sgr", tmp_path / "ours.ckpt", tmp_path / "out"
    convert_legacy(legacy, ours, run=run_cli_subprocess, vocab="mini_precomp_vocab.json", module="convert")
    words = (f"checkpoint={ours}", f"data.root={legacy / 'data/mini_precomp'}", f"out={out}")
    done = run_cli_subprocess(*words, module="evaluate")
    assert done.code == 0, done.stderr
    check_published_numbers(legacy, out, "test")


def check_published_numbers(legacy, out, split):
    stem = SPLITS[split]
    scores = np.load(out / "similarity.npy")
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, np.load(legacy / f"expected_sims_{stem}.npy"), atol=2e-6, rtol=0)
    expected = json.loads((legacy / "expected.json").read_text("utf-8"))[stem]
    found = json.loads((out / "metrics.json").read_text("utf-8"))
    for direction in ("i2t", "t2i"):
        values = [found[f"{direction}_{name}"] for name in NAMES]
        values[3] = math.floor(values[3])  # the published code rounds a median between two ranks down
        assert values == pytest.approx(expected[direction], abs=1e-9)
    assert found["rsum"] == pytest.approx(expected["rsum"], abs=1e-9)


def check_same_file(published, back):
    with torch.serialization.safe_globals([argparse.Namespace]):
        before, after = (torch.load(path, weights_only=True) for path in (published, back))
    assert list(before) == list(after)
    for old, new in zip(before["model"], after["model"], strict=True):
        assert list(old) == list(new)
        assert all(torch.equal(old[key], new[key]) and old[key].dtype == new[key].dtype for key in old)
    assert vars(before["opt"]) == vars(after["opt"])
    assert all(before[key] == after[key] for key in ("epoch", "best_rsum", "Eiters"))


MODEL = {"_target_": "tangka_match.models.SGRAF", "reasoning": "saf", "embed_dim": 6, "word_dim": 5, "sim_dim": 4}
MAPPING = {
    "model": MODEL,
    "num_regions": 4,
    "feature_dim": 8,
    "weights": {"visual.*": "img_enc.*", "txt_enc.*": "txt_enc.*", "sim_enc.*": "sim_enc.*"},
}


@pytest.fixture
def theirs(tmp_path):
    """Write a checkpoint of another program and its vocabulary, and return the overrides for them."""
    vocabulary = Vocabulary(["度母", "莲花"])
    vocabulary.save_json(tmp_path / "vocab.json")
    weights = build_matcher(MODEL, vocab_size=len(vocabulary), num_regions=4, feature_dim=8).state_dict()
    renamed = {key.replace("img_enc.", "visual."): value for key, value in weights.items()}
    config = Fraction(1, 3)  # any pickled class
    torch.save({"model_state_dict": renamed, "config": config, "epoch": 3}, tmp_path / "best_model.pth")
    return (
        f"source={tmp_path / 'best_model.pth'}",
        f"vocab={tmp_path / 'vocab.json'}",
        f"out={tmp_path / 'ours.ckpt'}",
    )


def test_mapping_converts_a_checkpoint_with_a_pickled_class(theirs, tmp_path):
    (tmp_path / "map.yaml").write_text(json.dumps(MAPPING), encoding="utf-8")
    done = run_cli_in_process(*theirs, f"mapping={tmp_path / 'map.yaml'}", main=convert)
    assert done.code == 0, done.stderr
    ours = torch.load(tmp_path / "ours.ckpt", weights_only=True)["state_dict"]
    before = torch.load(tmp_path / "best_model.pth", weights_only=False)["model_state_dict"]  # this test wrote it
    assert torch.equal(ours["matcher.img_enc.fc.weight"], before["visual.fc.weight"])


def test_missing_mapping_lists_the_weights(theirs, tmp_path):
    done = run_cli_in_process(*theirs, main=convert)
    assert_one_message(
        done,
        r"best_model.pth: not a checkpoint of the published SGRAF code, and none of the shipped mappings fits",
        r"mapping=<path>",
        r"model_state_dict: \d+ tensors",
        r"visual.fc.weight \(6, 8\)",
        r"neither imported nor executed: fractions.Fraction",
    )
    assert not (tmp_path / "ours.ckpt").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"weights": {"visual.*": "img_enc.*"}},
            r"txt_enc\.embed\.weight \(6, 5\) is not mapped; map it to null",
        ),
        ({"weight": {}}, r"weight: there is no such entry; known entries are model, weights"),
        ({"num_regions": 0}, r"num_regions=0: .*greater than or equal to 1"),
        ({"tokenizer": {"hmmm": True}}, r"tokenizer\.hmmm: .*takes no such argument\. Did you mean hmm\?"),
        ({"model": {"_target_": "os.system"}}, r"names the model 'os\.system'; allowed are"),
        ({"state": "net"}, r"no weights at state='net'; weights are at: model_state_dict"),
    ],
)
def test_exception_faulty_mapping(theirs, tmp_path, change, message):
    (tmp_path / "map.json").write_text(json.dumps(MAPPING | change), encoding="utf-8")
    assert_one_message(run_cli_in_process(*theirs, f"mapping={tmp_path / 'map.json'}", main=convert), message)
    assert not (tmp_path / "ours.ckpt").exists()


@pytest.mark.parametrize("text", ["weights: [", "[" * 900, "a: &a [1]\nb: *a\n", "- 1\n"])
def test_exception_unreadable_mapping(theirs, tmp_path, text):
    (tmp_path / "map.yaml").write_text(text, encoding="utf-8")
    assert_one_message(
        run_cli_in_process(*theirs, f"mapping={tmp_path / 'map.yaml'}", main=convert), "map.yaml: cannot"
    )


@pytest.mark.parametrize("to", ["tangka_match", "sgraf"])
def test_malicious_file_is_not_run(theirs, tmp_path, to):
    torch.save({"model": Bomb(tmp_path / "ran")}, tmp_path / "best_model.pth")
    assert_one_message(run_cli_in_process(*theirs, f"to={to}", main=convert), r"refused.*mkdir.*nothing in it was run")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "ours.ckpt").exists()


@pytest.mark.parametrize("to", ["tangka_match", "sgraf"])
def test_exception_truncated_file(theirs, tmp_path, to):
    whole = (tmp_path / "best_model.pth").read_bytes()
    (tmp_path / "best_model.pth").write_bytes(whole[: len(whole) // 2])
    assert_one_message(run_cli_in_process(*theirs, f"to={to}", main=convert), "best_model.pth: damaged or half-written")


def test_existing_file_is_not_overwritten(theirs, tmp_path):
    (tmp_path / "ours.ckpt").write_text("mine")
    assert_one_message(run_cli_in_process(*theirs, main=convert), "ours.ckpt already exists and is not overwritten")
    assert (tmp_path / "ours.ckpt").read_text() == "mine"


@needs_shared
def test_exception_missing_vocabulary(tmp_path):
    source = SHARED / "fixtures/legacy_sgr/model_best.pth.tar"
    done = run_cli_in_process(f"source={source}", f"out={tmp_path / 'ours.ckpt'}", main=convert)
    assert_one_message(done, "vocab is not set")


@pytest.mark.parametrize("fallback", [True, False])
def test_characters_in_the_vocabulary_are_noted(fallback, tmp_path):
    """The published code has no rule for unknown words, so it would never use these words."""
    source = write_checkpoint(tmp_path / "ours.ckpt", ["绿度母"], regions=36, character_fallback=fallback)
    torch.save({"epoch": 3, "global_step": 60, **torch.load(source, weights_only=True)}, source)
    done = run_cli_in_process(f"source={source}", f"out={tmp_path}/back.pth.tar", "to=sgraf", main=convert)
    assert done.code == 0, done.stderr
    note = "3 words of the vocabulary end in @@: characters that stand for unknown words here"
    assert (note in done.stdout) == fallback
