"""Train, evaluate, load; and published checkpoints end to end, through the real command lines."""

import argparse
import csv
import json

import numpy as np
import pytest
import torch

import tangka_match
from helpers.cli import run_cli_in_process
from helpers.shared import SHARED, needs_shared
from tangka_match.convert import main as convert
from tangka_match.data.split import load_split
from tangka_match.evaluate import main as evaluate

from .conftest import places


@pytest.fixture(scope="module")
def run(demo_data, tmp_path_factory):
    """Folder of a trained run."""
    folder = tmp_path_factory.mktemp("trained")
    done = run_cli_in_process("+experiment=debug", *places(demo_data, folder))
    assert done.code == 0, done.stderr
    return folder


def only(folder, pattern):
    (path,) = folder.glob(pattern)
    return path


def test_evaluate_gives_the_numbers_of_training(run, demo_data, tmp_path):
    checkpoint, root = only(run, "checkpoints/*/*/best.ckpt"), demo_data / "demo_small"
    words = (f"checkpoint={checkpoint}", f"data.root={root}", "split=val", f"out={tmp_path / 'out'}")
    done = run_cli_in_process(*words, main=evaluate)
    assert done.code == 0, done.stderr
    assert "R@10 %" in done.stdout
    found = json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))
    trained = json.loads(only(run, "runs/*/result.json").read_text("utf-8"))
    for name, value in trained["val_metrics"].items():
        assert found[name] == pytest.approx(value, abs=1e-9)
        assert found[f"{name}_ci95"] == pytest.approx(trained["val_ci95"][name], abs=1e-9)
    assert (found["num_images"], found["num_captions"]) == (40, 40)
    assert found["pairs_per_second"] > 0
    assert np.load(tmp_path / "out" / "similarity.npy").shape == (40, 40)
    with (tmp_path / "out" / "ranks.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    hits = [int(row["rank"]) == 1 for row in rows if row["direction"] == "i2t"]
    assert 100 * sum(hits) / len(hits) == pytest.approx(found["i2t_r1"])
    assert all((float(r["score_correct"]) > float(r["score_wrong"])) == (r["rank"] == "1") for r in rows)


def test_only_the_files_of_the_split_are_needed(run, demo_data, tmp_path):
    for path in (demo_data / "demo_small").glob("test_*"):
        (tmp_path / path.name).symlink_to(path)
    checkpoint = only(run, "checkpoints/*/*/best.ckpt")
    words = (f"checkpoint=[{checkpoint},{checkpoint}]", f"data.root={tmp_path}", f"out={tmp_path / 'out'}")
    done = run_cli_in_process(*words, "protocol.gallery_size=10", "protocol.draws=5", main=evaluate)
    assert done.code == 0, done.stderr
    assert "5 random galleries of 10 images" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("checkpoint=/nowhere.ckpt",), "/nowhere.ckpt: no such checkpoint"),
        (("device=quantum",), "'quantum' cannot be used here"),
        (("protocol.folds=41",), "protocol.folds=41, but the set has 40 images"),
        (("split=extra",), "extra_ims.npy"),
        (("out={demo}",), "nothing is overwritten"),
    ],
)
def test_a_mistake_is_one_message(run, demo_data, tmp_path, words, message):
    checkpoint, root = only(run, "checkpoints/*/*/best.ckpt"), demo_data / "demo_small"
    usual = (f"checkpoint={checkpoint}", f"data.root={root}", "split=val", f"out={tmp_path / 'out'}")
    done = run_cli_in_process(*usual, *(word.format(demo=root) for word in words), main=evaluate)
    assert done.code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "out").exists()


def test_a_loaded_model_scores_captions_as_they_are_written(run, demo_data):
    matcher = tangka_match.load(only(run, "checkpoints/*/*/best.ckpt"))
    split = load_split(demo_data / "demo_small", "val")
    regions = split.features.read(np.arange(5))
    scores = matcher.similarity(regions, ["一尊绿度母，结跏趺坐。", split.captions[0]])
    assert scores.shape == (5, 2)
    tensors = matcher.similarity(torch.from_numpy(regions), matcher.encode_texts([split.captions[0]]))
    torch.testing.assert_close(tensors[:, 0], scores[:, 1])


@needs_shared
@pytest.mark.parametrize("reasoning", ["sgr", "saf"])
def test_a_published_checkpoint_gives_the_published_scores_and_goes_back(reasoning, tmp_path):
    legacy = SHARED / f"fixtures/legacy_{reasoning}"
    ours = tmp_path / "ours.ckpt"
    words = (f"source={legacy / 'model_best.pth.tar'}", f"vocab={legacy / 'vocab/mini_precomp_vocab.pkl'}")
    done = run_cli_in_process(*words, f"out={ours}", main=convert)
    assert done.code == 0, done.stderr
    for split, stem in (("val", "dev"), ("test", "test")):
        out = tmp_path / split
        words = (f"checkpoint={ours}", f"data.root={legacy / 'data/mini_precomp'}", f"split={split}", f"out={out}")
        assert run_cli_in_process(*words, main=evaluate).code == 0
        expected = np.load(legacy / f"expected_sims_{stem}.npy")
        np.testing.assert_allclose(np.load(out / "similarity.npy"), expected, atol=2e-6, rtol=0)
    back = tmp_path / "back.pth.tar"
    assert run_cli_in_process(f"source={ours}", f"out={back}", "to=sgraf", main=convert).code == 0
    _check_same_weights(legacy / "model_best.pth.tar", back)


def _check_same_weights(published, back):
    with torch.serialization.safe_globals([argparse.Namespace]):
        before, after = (torch.load(path, weights_only=True) for path in (published, back))
    for old, new in zip(before["model"], after["model"], strict=True):
        assert list(old) == list(new)
        assert all(torch.equal(old[key], new[key]) and old[key].dtype == new[key].dtype for key in old)
    assert {k: v for k, v in vars(after["opt"]).items() if vars(before["opt"]).get(k) != v} == {}
