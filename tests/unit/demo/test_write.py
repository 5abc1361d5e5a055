import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tangka_match.demo import write_demo_set
from tangka_match.errors import ConfigError, DataFormatError

SIZES = {"train": 10, "val": 6, "test": 5}


def digests(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "set"
    write_demo_set(folder, **SIZES)
    return folder


@pytest.mark.parametrize(("stem", "count"), [("train", 10), ("dev", 6), ("test", 5)])
def test_splits_are_in_the_precomp_layout(root, stem, count):
    features = np.load(root / f"{stem}_ims.npy", mmap_mode="r")
    boxes = np.load(root / f"{stem}_boxes.npy")
    assert (features.shape, features.dtype) == ((count, 36, 2048), np.float16)
    assert boxes.shape == (count, 36, 4)
    assert len((root / f"{stem}_caps.txt").read_text("utf-8").splitlines()) == count
    assert len(set((root / f"{stem}_ids.txt").read_text("utf-8").splitlines())) == count


def test_all_thumbnails_can_be_opened(root):
    ids = [line for stem in ("train", "dev", "test") for line in (root / f"{stem}_ids.txt").read_text().split()]
    assert len(ids) == 21
    for name in ids:
        with Image.open(root / "thumbnails" / f"{name}.png") as picture:
            picture.load()
            assert picture.size == (192, 256)


def test_scene_facts_are_written(root):
    scenes = [json.loads(line) for line in (root / "scenes.jsonl").read_text("utf-8").splitlines()]
    assert len(scenes) == 21
    assert all(set(scene["mentioned"]) <= set(scene["facts"]) for scene in scenes)
    assert {scene["split"] for scene in scenes} == {"train", "val", "test"}


def test_groups_contain_near_copies(tmp_path):
    write_demo_set(tmp_path / "set", train=30, val=1, test=1, duplicate_share=0.5, thumbnails=False)
    lines = (tmp_path / "set" / "scenes.jsonl").read_text("utf-8").splitlines()[:30]
    scenes = {scene["id"]: scene for scene in map(json.loads, lines)}
    grouped = [scene for scene in scenes.values() if scene["group"] is not None]
    assert len(grouped) > 10
    for scene in grouped:
        assert len(set(scene["facts"]) - set(scenes[scene["group"]]["facts"])) <= 1


def test_report_equals_readme(tmp_path):
    report = write_demo_set(tmp_path / "set", seed=4, **SIZES, noise=0.25, completeness=0.2, thumbnails=False)
    assert json.loads((tmp_path / "set" / "README.json").read_text("utf-8")) == report
    wanted = {"seed": 4, **SIZES, "noise": 0.25, "duplicate_share": 0.06, "completeness": 0.2, "thumbnails": False}
    assert report["settings"] == wanted
    assert report["format_version"] == 1
    assert report["splits"]["val"]["images"] == 6
    assert set(report["splits"]["test"]["oracle"]) == {"i2t_r1", "t2i_r1", "mean_r1"}
    assert not (tmp_path / "set" / "thumbnails").exists()


def test_vocabulary_size_only_counts_train_captions(tmp_path):
    few = write_demo_set(tmp_path / "few", train=2, val=1, test=1, thumbnails=False)["vocabulary_size"]
    more = write_demo_set(tmp_path / "more", train=2, val=9, test=9, thumbnails=False)["vocabulary_size"]
    assert few == more
    assert 4 + 8 <= few <= 4 + 2 * 40


def test_same_seed_gives_the_same_bytes_in_another_process(root, tmp_path):
    again = tmp_path / "again"
    code = f"from tangka_match.demo import write_demo_set; write_demo_set({str(again)!r}, **{SIZES})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert digests(again) == digests(root)
    assert len(digests(again)) == 3 * 4 + 2 + 21


def test_smaller_set_is_the_start_of_a_larger_one(root, tmp_path):
    write_demo_set(tmp_path / "set", train=4, val=2, test=2, thumbnails=False)
    for name in ("train_ims.npy", "dev_boxes.npy"):
        small, large = np.load(tmp_path / "set" / name), np.load(root / name)
        assert np.array_equal(small, large[: len(small)])
    small_captions = (tmp_path / "set" / "train_caps.txt").read_text("utf-8")
    assert (root / "train_caps.txt").read_text("utf-8").startswith(small_captions)


def test_progress_ends_at_the_number_of_scenes(tmp_path):
    seen = []
    write_demo_set(tmp_path / "set", **SIZES, thumbnails=False, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(10, 21), (16, 21), (21, 21)]


def test_existing_empty_folder(tmp_path):
    (tmp_path / "set").mkdir()
    write_demo_set(tmp_path / "set", train=1, val=1, test=1, thumbnails=False)
    assert (tmp_path / "set" / "README.json").is_file()


def test_existing_files_are_not_overwritten(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(DataFormatError, match=r"set contains 1 files.*never overwrites"):
        write_demo_set(tmp_path / "set", **SIZES)
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "mine.txt"]


def test_folder_written_by_another_process_is_not_overwritten(tmp_path):
    def write_first(done, total):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / "theirs.txt").write_text("theirs")

    with pytest.raises(DataFormatError, match="set contains 1 files"):
        write_demo_set(tmp_path / "set", **SIZES, thumbnails=False, progress=write_first)
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "theirs.txt"]


def test_root_is_a_file(tmp_path):
    (tmp_path / "set").write_text("mine")
    with pytest.raises(DataFormatError, match="set is a file"):
        write_demo_set(tmp_path / "set", **SIZES)


def test_interrupted_write_leaves_no_files(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_demo_set(tmp_path / "set", **SIZES, thumbnails=False, progress=interrupt)
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"noise": -0.5}, "noise=-0.5 must be >= 0"),
        ({"noise": float("nan")}, "noise=nan must be >= 0"),
        ({"noise": float("inf")}, "noise=inf must be >= 0 and finite"),
        ({"seed": -1}, "seed=-1 must be >= 0"),
        ({"duplicate_share": 1.0}, r"duplicate_share=1 must be in \[0, 1\)"),
        ({"completeness": 0.0}, r"completeness=0 must be in \(0, 1\]"),
        ({"val": 0}, "val=0 must be >= 1"),
    ],
)
def test_settings_out_of_range(tmp_path, setting, message):
    with pytest.raises(ConfigError, match=message):
        write_demo_set(tmp_path / "set", **(SIZES | setting))
    assert not (tmp_path / "set").exists()
