"""``evaluate`` and ``compare`` on score matrices of other programs."""

import json

import numpy as np
import pytest
import torch

from helpers.cli import run_cli_in_process
from helpers.precomp import write_precomp
from tangka_match.compare import main as compare
from tangka_match.diagnose import main as diagnose
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


def test_diagnose_shows_hubs_intervals_and_worst_queries_of_a_matrix(matrices, tmp_path):
    scores = matrices["a"].copy()
    scores[7] += 3  # image 7 is a hub
    np.save(tmp_path / "hub.npy", scores)
    done = run_cli_in_process("similarity=hub.npy", "captions_per_image=5", "out=page", main=diagnose)
    assert done.code == 0, done.stderr
    found = json.loads((tmp_path / "page" / "diagnosis.json").read_text("utf-8"))["sections"]
    ranks = retrieval_ranks(torch.from_numpy(scores), torch.arange(IMAGES * K) // K)
    assert found["model"]["values"]["metrics"] == summarise(ranks)
    low, high = found["model"]["values"]["intervals"]["mean_r1"]
    assert low < summarise(ranks)["mean_r1"] < high
    first = int((torch.from_numpy(scores).argmax(dim=0) == 7).sum())
    among = int((torch.from_numpy(scores).topk(10, dim=0).indices == 7).sum())
    assert found["model"]["values"]["hubs"]["t2i"]["strongest"][0] == {"item": "7", "first": first, "among_ten": among}
    assert "dominant_image" in [finding["code"] for finding in found["model"]["findings"]]
    assert found["worst_queries"]["values"]["t2i"][0]["rank"] == int(ranks.t2i.max())
    page = (tmp_path / "page" / "diagnosis.html").read_text("utf-8")
    assert "Images that most captions rank first" in page


def test_diagnose_says_that_it_replaces_an_earlier_page(matrices):
    words = ("similarity=a.npy", "captions_per_image=5", "out=page")
    first, second = (run_cli_in_process(*words, main=diagnose) for _ in range(2))
    assert ["(replaces an earlier one)" in done.stdout for done in (first, second)] == [False, True]


def test_diagnose_compares_a_matrix_with_the_ceiling_of_its_data(matrices, tmp_path):
    for split in ("train", "val", "test"):
        write_precomp(tmp_path / "set", split, images=IMAGES, captions_per_image=K, ids="caption")
    words = ("similarity=a.npy", "data.root=set", "split=test", "out=page")
    done = run_cli_in_process(*words, main=diagnose)
    assert done.code == 0, done.stderr
    found = json.loads((tmp_path / "page" / "diagnosis.json").read_text("utf-8"))["sections"]
    recalls = found["model"]["values"]["metrics"]
    assert found["ceiling"]["values"]["profile"] == [recalls[f"t2i_r{k}"] for k in (1, 5, 10)]
    assert found["power"]["values"]["recall"] == recalls["t2i_r1"]


def test_diagnose_of_constant_scores_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("constant.npy", np.ones((20, 20)))
    run_cli_in_process("similarity=constant.npy", "captions_per_image=1", "out=page", main=diagnose)
    found = json.loads((tmp_path / "page" / "diagnosis.json").read_text("utf-8"))["sections"]
    assert [finding["code"] for finding in found["model"]["findings"]] == ["collapsed"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("similarity=a.npy",), "which caption belongs to which image? Set captions_per_image=5"),
        (("similarity=a.npy", "run=last"), "similarity=<scores.npy> and run= are both set; remove one of them"),
        (("similarity=a.npy", "data.root=set", "ids=ids.txt"), "data.root=set says which caption"),
        (("captions_per_image=5", "data.root=set"), "captions_per_image belongs to similarity=<scores.npy>"),
        (("similarity=a.npy", "captions_per_image=5", "learning_curve=true"), "set data.root as well"),
        (("similarity=a.npy", "captions_per_image=5", "profile=[30,60,70]"), "describes a data set: set data.root"),
    ],
)
def test_diagnose_refuses_contradictions(matrices, tmp_path, words, message):
    done = run_cli_in_process("out=page", *words, main=diagnose)
    assert done.code == 2
    assert message in done.stderr
    assert not (tmp_path / "page").exists()
