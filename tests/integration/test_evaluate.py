"""``evaluate`` and `tangka_match.load` on a run trained through its command line."""

import csv
import json
import re

import numpy as np
import pytest
import torch

import tangka_match
from helpers.cli import run_cli_in_process
from tangka_match.data.split import load_split
from tangka_match.evaluate import main as evaluate
from tangka_match.ops import computes_bfloat16

from .conftest import places


@pytest.fixture(scope="module")
def run(demo_data, tmp_path_factory):
    """Train a run, and return its folder."""
    folder = tmp_path_factory.mktemp("trained")
    done = run_cli_in_process("+experiment=debug", *places(demo_data, folder))
    assert done.code == 0, done.stderr
    return folder


def only(folder, pattern):
    (path,) = folder.glob(pattern)
    return path


def test_metrics_equal_those_of_training(run, demo_data, tmp_path):
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
    seconds, memory = found["similarity_seconds"], found["peak_memory_mib"]
    assert f"{1000 * seconds / 40:.2f} ms per query, {found['pairs_per_second']:,.0f} pairs per second" in done.stdout
    assert found["pairs_per_second"] == pytest.approx(40 * 40 / seconds)
    assert re.search(r"peak memory [\d,]+ MiB", done.stdout) and memory > 100
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
        (("device=quantum",), "'quantum' is not available here"),
        (("precision=16",), "precision='16': Input should be '32' or 'bf16'"),
        (("fusion=median",), "fusion='median': Input should be 'mean', 'standardised' or 'rank'"),
        (("hubness=[nn]",), "hubness: hubness=['nn']: unknown correction"),
        (("hubness=[nnn]", "bank.split=val"), "bank.split=val holds the data under evaluation"),
        (("correction.beta=-1",), "correction.beta=-1.0 must be above 0"),
        (("near_duplicates.threshold=3",), "near_duplicates.threshold=3"),
        (("+bank.sizes=3",), "bank.sizes: there is no such setting"),
        (("+protocol.fold=5",), "protocol.fold: there is no such setting. Did you mean folds?"),
        (("~protocol",), "protocol is missing: its default has been removed"),
        (("checkpoint=[]",), "checkpoint=[]: Value should have at least 1 item"),
        (("+hubnes=[]",), "hubnes: there is no such setting. Did you mean hubness?"),
        (("protocol.folds=41",), "protocol.folds=41 must be at most 40"),
        (("split=extra",), "extra_ims.npy"),
        (("out={demo}",), "nothing is overwritten"),
    ],
)
def test_user_error_gives_one_message(run, demo_data, tmp_path, words, message):
    checkpoint, root = only(run, "checkpoints/*/*/best.ckpt"), demo_data / "demo_small"
    usual = (f"checkpoint={checkpoint}", f"data.root={root}", "split=val", f"out={tmp_path / 'out'}")
    done = run_cli_in_process(*usual, *(word.format(demo=root) for word in words), main=evaluate)
    assert done.code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "out").exists()


def test_loaded_model_scores_raw_captions(run, demo_data):
    matcher = tangka_match.load(only(run, "checkpoints/*/*/best.ckpt"))
    split = load_split(demo_data / "demo_small", "val")
    regions = split.features.read(np.arange(5))
    scores = matcher.similarity(regions, ["一尊绿度母，结跏趺坐。", split.captions[0]])
    assert scores.shape == (5, 2)
    tensors = matcher.similarity(torch.from_numpy(regions), matcher.encode_texts([split.captions[0]]))
    torch.testing.assert_close(tensors[:, 0], scores[:, 1])


def test_corrected_and_near_duplicate_metrics_are_reported_beside_the_raw_ones(run, demo_data, tmp_path):
    checkpoint, root, out = only(run, "checkpoints/*/*/best.ckpt"), demo_data / "demo_small", tmp_path / "out"
    words = (f"checkpoint={checkpoint}", f"data.root={root}", "split=test", f"out={out}")
    extras = ("hubness=[qb_norm,sinkhorn]", "near_duplicates.threshold=0.05", "precision=bf16", "bank.size=50")
    done = run_cli_in_process(*words, *extras, main=evaluate)
    assert done.code == 0, done.stderr
    assert "transductive" in done.stdout
    found = json.loads((out / "metrics.json").read_text("utf-8"))
    assert {name: part["transductive"] for name, part in found["corrected"].items()} == {
        "qb_norm": False,
        "sinkhorn": True,
    }
    assert found["near_duplicates"]["threshold"] == 0.05
    assert found["near_duplicates"]["i2t_r1"] >= found["i2t_r1"]
    assert (found["precision"], found["bank"]["size"]) == ("bf16", 50)
    assert ("precision=bf16 is slower" in done.stdout) is not computes_bfloat16(torch.device("cpu"))
    again = run_cli_in_process(*words, main=evaluate)
    assert "(the earlier evaluation there is replaced)" in again.stdout
    assert "corrected" not in json.loads((out / "metrics.json").read_text("utf-8"))
