"""``prepare`` through its command line: from files of other programs to a data set."""

import base64
import json
import os

import numpy as np
import pytest

from helpers.cli import run_cli_in_process
from helpers.foreign_files import make_boxes, make_regions, write_bottom_up, write_karpathy
from helpers.precomp import make_captions
from tangka_match.data.split import load_split
from tangka_match.prepare import main as prepare

COUNT = 40
COUNTS = [2 + image % 3 for image in range(COUNT)]
NAMES = [f"{1000 + image}_ab.jpg" for image in range(COUNT)]
SPLITS = ["train"] * 24 + ["val"] * 8 + ["test"] * 8


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write features.tsv and dataset.json, and return a function that runs the command on them."""
    monkeypatch.chdir(tmp_path)
    ids = [name.removesuffix(".jpg") for name in reversed(NAMES)]
    write_bottom_up(tmp_path / "features.tsv", ids, make_regions(COUNTS)[::-1], make_boxes(COUNTS)[::-1])
    texts = [(text, f"{text}第{n}幅") for n, text in enumerate(make_captions(range(COUNT)))]
    write_karpathy(tmp_path / "dataset.json", NAMES, texts, SPLITS)

    def run(*words):
        usual = ("features=features.tsv", "captions=dataset.json", "out=set")
        return run_cli_in_process(*usual, *words, main=prepare)

    return run


def test_tsv_and_dataset_json_become_a_data_set(files, tmp_path):
    done = files()
    assert done.code == 0, done.stderr
    regions = make_regions(COUNTS)
    for name, images in (("train", range(24)), ("val", range(24, 32)), ("test", range(32, 40))):
        split = load_split(tmp_path / "set", name)
        assert split.image_ids == tuple(NAMES[image] for image in images)
        assert split.num_captions == 2 * split.num_images
        stored = split.features.read(np.arange(split.num_images))
        for row, image in enumerate(images):
            np.testing.assert_array_equal(stored[row, : COUNTS[image]], regions[image].astype(np.float16))
            assert (stored[row, COUNTS[image] :] == 0).all()
        np.testing.assert_allclose(split.boxes[0, 1], [0, 0, 0.2, 0.2], atol=1e-6)
    about = json.loads((tmp_path / "set" / "README.json").read_text("utf-8"))
    assert about["features"]["format"] == "bottom-up-attention TSV"
    assert about["paired"] == {
        "by": "path without extension",
        "images": COUNT,
        "without_captions": [],
        "without_features": [],
        "repeated_features": 0,
    }
    assert about["splits"]["val"] == {"images": 8, "captions": 16, "boxes": True}
    lines = done.stdout.splitlines()
    assert any(line.startswith("diagnosis    ") for line in lines)
    assert sum(line.split()[0] in ("diagnosis", "fault", "warning", "info", "and") for line in lines if line) <= 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset.json", "features.tsv", "set"]


def test_drawn_splits_keep_equal_captions_together(files, tmp_path):
    texts = [(text, f"同一句话{n // 4}") for n, text in enumerate(make_captions(range(COUNT)))]
    write_karpathy(tmp_path / "dataset.json", NAMES, texts, SPLITS)
    done = files("splits=[0.6,0.2,0.2]", "seed=1", "diagnose=false")
    assert done.code == 0, done.stderr
    assert "kept together 40 images" in done.stdout
    captions = [set(load_split(tmp_path / "set", name).captions) for name in ("train", "val", "test")]
    assert [len(found) for found in captions] == [24 + 6, 8 + 2, 8 + 2]
    assert not captions[0] & (captions[1] | captions[2])
    assert not captions[1] & captions[2]


def test_drawn_splits_keep_near_duplicates_together(files, tmp_path):
    """Images 2k and 2k + 1 have the same features with noise of 1 %, in another order of the regions."""
    random = np.random.default_rng(0)
    first = make_regions([4] * (COUNT // 2), dim=64)
    copies = [array[::-1] + random.normal(0, 0.01, array.shape).astype(np.float32) for array in first]
    pairs = [array for pair in zip(first, copies, strict=True) for array in pair]
    np.savez(tmp_path / "features.npz", **dict(zip(NAMES, pairs, strict=True)))
    done = files("features=features.npz", "splits=[0.6,0.2,0.2]", "diagnose=false")
    assert done.code == 0, done.stderr
    where = {
        name: split for split in ("train", "val", "test") for name in load_split(tmp_path / "set", split).image_ids
    }
    assert all(where[NAMES[2 * k]] == where[NAMES[2 * k + 1]] for k in range(COUNT // 2))
    assert len(where) == COUNT


def test_lists_of_ids(files, tmp_path):
    for name, images in (("train", NAMES[:30]), ("val", NAMES[30:36])):
        (tmp_path / f"{name}.txt").write_text("\n".join(images), "utf-8")
    done = files("splits={train: train.txt, val: val.txt}", "dtype=float32")
    assert done.code == 0, done.stderr
    assert load_split(tmp_path / "set", "val").image_ids == tuple(NAMES[30:36])
    assert load_split(tmp_path / "set", "val").features.dtype == np.float32
    assert json.loads((tmp_path / "set" / "README.json").read_text("utf-8"))["splits"]["left_out"] == 4


def test_left_out_images_are_counted_and_listed(files, tmp_path):
    texts = [("一个女孩",)] * 38 + [("。。",), ()]
    write_karpathy(tmp_path / "dataset.json", [*NAMES[:36], "extra.jpg", *NAMES[37:]], texts, SPLITS)
    done = files("diagnose=false")
    assert done.code == 0, done.stderr
    assert "left out     3 images without captions: 1039_ab, 1038_ab, 1036_ab" in done.stdout
    assert "left out     1 image without features: extra.jpg" in done.stdout
    assert "left out     1 caption without a letter or digit" in done.stdout
    about = json.loads((tmp_path / "set" / "README.json").read_text("utf-8"))
    assert about["paired"]["without_features"] == ["extra.jpg"]


def damage_features(tmp_path):
    lines = (tmp_path / "features.tsv").read_text("utf-8").splitlines()
    fields = lines[3].split("\t")
    lines[3] = "\t".join([*fields[:5], base64.b64encode(bytes(2 * 4 * 4)).decode("ascii")])
    (tmp_path / "features.tsv").write_text("\n".join(lines), "utf-8")


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (lambda p: None, ("features=nothing.tsv",), "features=nothing.tsv: no such file or folder"),
        (lambda p: None, ("splits=[0.5,0.2]",), "splits=[0.5, 0.2]: shares must sum to 1 (found 0.7)"),
        (lambda p: None, ("dtype=int8",), "dtype='int8': Input should be 'float16' or 'float32'"),
        (lambda p: None, ("columns.picture=a",), "columns.picture: there is no such setting. Known in columns: image"),
        (lambda p: (p / "set").mkdir(), (), "out: set already exists and is not overwritten"),
        (damage_features, (), "1 of 8 images cannot be trained on"),
    ],
)
def test_user_error_gives_one_message_and_leaves_nothing_behind(files, tmp_path, change, words, message):
    change(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    done = files(*words)
    assert done.code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_full_disk_is_reported_before_anything_is_written(files, tmp_path, monkeypatch):
    def full(descriptor, offset, length):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    done = files()
    assert done.code == 2
    assert "set: No space left on device; free space there, or set out to a folder on another disk" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset.json", "features.tsv"]
