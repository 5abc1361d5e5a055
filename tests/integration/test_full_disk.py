"""Commands on a full disk: one message that names the file, exit 2, and nothing left behind."""

import shutil

import numpy as np
import pytest
from PIL import Image

from helpers.bad_input import assert_one_message
from helpers.cli import run_cli_subprocess
from helpers.small_disk import mounted
from helpers.tiny_pretrained import write_chinese_clip

MARGIN = 40_000
"""Bytes left on the disk: enough for folders and short files, too few for features."""


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk") as folder:
        (folder / "filler").write_bytes(bytes(shutil.disk_usage(folder).free - MARGIN))
        yield folder


def left_behind(disk):
    return sorted(p.name for p in disk.iterdir() if p.name != "filler" and not p.name.endswith(".lock"))


def test_demo_set(disk):
    done = run_cli_subprocess("data=demo_small", f"data.root={disk}/set", module="demo_data")
    assert_one_message(done, r"disk/set: cannot write the demo set here \(.*No space left on device.*\); free space")
    assert left_behind(disk) == []


def test_features_of_pictures(disk, tmp_path):
    pytest.importorskip("transformers")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    lines = []
    for number in range(400):
        Image.new("RGB", (8, 8), (number % 255, 0, 0)).save(pictures / f"{number}.png")
        lines.append(f"{number}.png\t绿度母")
    (tmp_path / "captions.tsv").write_text("\n".join(lines), encoding="utf-8")
    model = write_chinese_clip(tmp_path / "clip")
    words = (f"encoder={model}", f"images={pictures}", f"captions={tmp_path}/captions.tsv", "split=test", "grid=2")
    done = run_cli_subprocess(*words, f"out={disk}/set", module="extract")
    assert_one_message(done, r"test_\w+\.\w+: No space left on device; free space there, or set out to")
    assert left_behind(disk) == []


def test_evaluation_and_its_similarity_matrix(disk, tmp_path):
    np.save(tmp_path / "scores.npy", np.random.default_rng(0).random((120, 120), dtype=np.float32))
    words = (f"similarity={tmp_path}/scores.npy", "captions_per_image=1", f"out={disk}/out")
    done = run_cli_subprocess(*words, module="evaluate")
    assert_one_message(done, r"out/similarity\.npy: No space left on device; free space there, or set out to")
    assert left_behind(disk) == []
