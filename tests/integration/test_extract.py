"""``extract`` through its command line: pictures to features and a zero-shot checkpoint."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import tangka_match
from helpers.cli import run_cli_in_process
from helpers.tiny_pretrained import write_chinese_clip
from tangka_match.evaluate import main as evaluate
from tangka_match.extract import main as extract


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = []
    for n, caption in enumerate(["绿度母", "红佛在莲上", "白云", "金山"]):
        Image.fromarray(rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(folder / f"{n}.png")
        lines += [f"{n}.png\t{caption}"] * (n % 2 + 1)
    (tmp_path / "captions.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def run(tmp_path, model, pictures):
    words = (f"clip={model}", f"images={pictures}", f"captions={tmp_path}/captions.tsv", f"out={tmp_path}/set")
    return run_cli_in_process(*words, "split=test", "grid=2", "batch_size=3", main=extract)


def test_features_score_like_the_original_model(tmp_path, pictures):
    model = write_chinese_clip(tmp_path / "clip")
    done = run(tmp_path, model, pictures)
    assert done.code == 0, done.stderr
    features = np.load(tmp_path / "set" / "test_ims.npy")
    assert features.shape == (4, 5, 8)
    transformers = pytest.importorskip("transformers")
    clip = transformers.ChineseCLIPModel.from_pretrained(model).eval()
    prepare = transformers.ChineseCLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False)
    pixels = prepare([Image.open(pictures / f"{n}.png") for n in range(4)], return_tensors="pt")["pixel_values"]
    tokens = transformers.AutoTokenizer.from_pretrained(model)(["绿度母", "白云"], padding=True, return_tensors="pt")
    with torch.no_grad():
        images = clip.get_image_features(pixel_values=pixels).pooler_output
        texts = clip.get_text_features(**tokens).pooler_output
    expected = torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=2)
    matcher = tangka_match.load(tmp_path / "set" / "zero_shot.ckpt")
    torch.testing.assert_close(matcher.similarity(features, ["绿度母", "白云"]), expected, atol=5e-3, rtol=0)
    out = tmp_path / "out"
    words = (f"checkpoint={tmp_path}/set/zero_shot.ckpt", f"data.root={tmp_path}/set", "split=test", f"out={out}")
    evaluated = run_cli_in_process(*words, main=evaluate)
    assert evaluated.code == 0, evaluated.stderr
    assert json.loads((out / "metrics.json").read_text("utf-8"))


def test_damaged_and_missing_pictures_are_named_before_anything_is_written(tmp_path, pictures):
    (pictures / "1.png").write_bytes((pictures / "1.png").read_bytes()[:200])
    (pictures / "3.png").unlink()
    done = run(tmp_path, write_chinese_clip(tmp_path / "clip"), pictures)
    assert done.code == 2
    assert "1.png: " in done.stderr
    assert "3.png: missing" in done.stderr
    assert not (tmp_path / "set").exists()
