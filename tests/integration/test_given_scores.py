"""``evaluate`` and ``compare`` on score matrices of other programs."""

import json

import numpy as np
import pytest
import torch

from helpers.cli import run_cli_in_process
from helpers.precomp import write_precomp
from tangka_match.compare import main as compare
from tangka_match.evaluate import main as evaluate
from tangka_match.metrics import retrieval_ranks, summarise

IMAGES, K = 60, 5


@pytest.fixture
def matrices(tmp_path, monkeypatch):
    """Write a.npy and the better b.npy."""
    monkeypatch.chdir(tmp_path)
    correct = np.repeat(np.eye(IMAGES), K, axis=1)
    found = {}
    for seed, (name, skill) in enumerate({"a": 2.0, "b": 3.0}.items()):
        found[name] = np.random.default_rng(seed).normal(size=correct.shape) + skill * correct
        np.save(tmp_path / f"{name}.npy", found[name])
    return found


def test_evaluate_reports_the_whole_statistics(matrices, tmp_path):
    words = ("similarity=a.npy", "captions_per_image=5", "out=out", "hubness=[sinkhorn]", "protocol.folds=2")
    done = run_cli_in_process(*words, main=evaluate)
    assert done.code == 0, done.stderr
    assert "a.npy (rows images, columns captions), 60 images, 300 captions" in " ".join(done.stdout.split())
    report = json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))
    assert report["num_images"] == IMAGES
    assert report["corrected"]["sinkhorn"]["transductive"]
    assert report["i2t_r1_ci95"][0] < report["i2t_r1"] < report["i2t_r1_ci95"][1]
    run_cli_in_process("similarity=a.npy", "captions_per_image=5", "out=full", main=evaluate)
    full = json.loads((tmp_path / "full" / "metrics.json").read_text("utf-8"))
    ranks = retrieval_ranks(torch.from_numpy(matrices["a"]), torch.arange(IMAGES * K) // K)
    assert {name: full[name] for name in summarise(ranks)} == summarise(ranks)


def test_compare_takes_matrices_and_evaluations(matrices, tmp_path):
    done = run_cli_in_process("a=a.npy", "b=b.npy", "captions_per_image=5", "out=c.json", main=compare)
    assert done.code == 0, done.stderr
    found = json.loads((tmp_path / "c.json").read_text("utf-8"))
    assert found["verdict"]["better"] == "b"
    run_cli_in_process("similarity=b.npy", "captions_per_image=5", "out=evaluated", main=evaluate)
    again = run_cli_in_process("a=a.npy", "b=evaluated", "captions_per_image=5", "out=d.json", main=compare)
    assert again.code == 0, again.stderr
    assert json.loads((tmp_path / "d.json").read_text("utf-8"))["metrics"] == found["metrics"]


def test_data_set_says_the_pairs_and_finds_near_duplicates(matrices, tmp_path):
    write_precomp(tmp_path / "set", "test", images=IMAGES, captions_per_image=K, ids="caption")
    words = ("similarity=a.npy", "data.root=set", "out=out", "near_duplicates.threshold=0.5")
    done = run_cli_in_process(*words, main=evaluate)
    assert done.code == 0, done.stderr
    report = json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))
    assert report["near_duplicates"]["extra_pairs"] > 0
    assert (tmp_path / "out" / "ranks.csv").read_text("utf-8").splitlines()[1].startswith("i2t,test-0000,test-0000,")


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        (evaluate, (), "give checkpoint=<best.ckpt>, or similarity=<scores.npy> of another program; found neither"),
        (evaluate, ("similarity=a.npy", "checkpoint=b.ckpt"), "found both"),
        (evaluate, ("similarity=a.npy",), "which caption belongs to which image? Set captions_per_image=5"),
        (evaluate, ("similarity=a.npy", "captions_per_image=0"), "captions_per_image=0"),
        (evaluate, ("similarity=a.npy", "captions_per_image=5", "hubness=[nnn]"), "needs the scores of other queries"),
        (
            evaluate,
            ("similarity=a.npy", "captions_per_image=5", "near_duplicates.threshold=0"),
            "near_duplicates.threshold needs the features: set data.root",
        ),
        (compare, ("a=a.npy", "b=b.npy"), "which caption belongs to which image?"),
        (compare, ("a=a.npy", "b=c.npy"), "b=c.npy: no such folder; give"),
    ],
)
def test_user_error_gives_one_message(matrices, tmp_path, command, words, message):
    usual = ("out=out", "data.root=null") if command is evaluate and not words else ("out=out",)
    done = run_cli_in_process(*usual, *words, main=command)
    assert done.code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "out").exists()
