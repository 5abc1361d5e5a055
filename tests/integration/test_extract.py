"""``extract`` through its command line: pictures to features and a zero-shot checkpoint."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import tangka_match
from helpers.cli import run_cli_in_process
from helpers.tiny_pretrained import write_chinese_clip
from helpers.tiny_vision import write_vision_model
from tangka_match.data.split import load_split
from tangka_match.evaluate import main as evaluate
from tangka_match.extract import main as extract
from tangka_match.prepare import main as prepare
from tangka_match.retrieval.own_pictures import PictureEncoder


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
    words = (f"encoder={model}", f"images={pictures}", f"captions={tmp_path}/captions.tsv", f"out={tmp_path}/set")
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


def test_photographs_to_a_data_set_and_one_more_picture(tmp_path):
    """``extract`` without captions, ``prepare`` with a table of captions, then a picture encoded as in the data set."""
    data = pytest.importorskip("skimage.data")
    (tmp_path / "photos" / "more").mkdir(parents=True)
    names = ["astronaut.png", "coffee.jpg", "more/chelsea.tif", "camera.png"]
    for name in names:
        stem = name.rpartition("/")[2].partition(".")[0]
        pixels = getattr(data, stem)()
        Image.fromarray(pixels.astype(np.uint16) * 257 if stem == "camera" else pixels).save(tmp_path / "photos" / name)
    for name in ("notes.txt", "old_features.h5", "clip.mpg", ".thumbnails/small.png"):  # none is a picture of the set
        (tmp_path / "photos" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_text("not a picture", encoding="utf-8")
    (tmp_path / "photos" / "folder.jpg").mkdir()
    model, photos, out = write_vision_model(tmp_path / "dinov2", "dinov2"), tmp_path / "photos", tmp_path / "features"
    words = (f"encoder={model}", f"images={photos}", "split=all", "grid=2", "batch_size=3")
    done = run_cli_in_process(*words, f"out={out}", main=extract)
    assert done.code == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        *("all_boxes.npy", "all_ids.txt", "all_ims.npy", "encoder.json")
    ]
    lines = ["file,caption,split", *(f"{name},照片 {n},{'train' if n else 'val'}" for n, name in enumerate(names))]
    (tmp_path / "captions.csv").write_text("\n".join(lines), encoding="utf-8")
    words = (f"features={out}/all_ims.npy", f"captions={tmp_path}/captions.csv", f"out={tmp_path}/set")
    done = run_cli_in_process(*words, "columns.image=file", "diagnose=false", main=prepare)
    assert done.code == 0, done.stderr
    assert "4 images by" in done.stdout
    split = load_split(tmp_path / "set", "train")
    assert split.boxes.shape == (3, 4, 4)
    encoder = PictureEncoder.of(split)
    for row, name in enumerate(split.image_ids):
        found = encoder.encode((photos / name).read_bytes())
        np.testing.assert_allclose(found, split.features.read(np.array([row])), atol=2e-3)


def test_folder_without_pictures_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    model = write_vision_model(tmp_path / "vit", "vit")
    done = run_cli_in_process(
        f"encoder={model}", f"images={tmp_path}/empty", f"out={tmp_path}/set", "grid=2", main=extract
    )
    assert (done.code, "empty: no pictures there" in done.stderr) == (2, True)


def test_the_former_setting_is_named(tmp_path):
    done = run_cli_in_process("clip=x", f"images={tmp_path}", f"out={tmp_path}/set", main=extract)
    assert done.code == 2
    assert "clip: there is no such setting. It is called encoder: write encoder=<value>" in done.stderr


def test_splits_of_one_set_need_the_same_encoder(tmp_path, pictures):
    """Two encoders of one shape would be mixed without a word."""
    words = (f"images={pictures}", f"captions={tmp_path}/captions.tsv", f"out={tmp_path}/set", "grid=2")
    for kind, split, code in (("vit", "train", 0), ("dinov2", "test", 2), ("vit", "test", 0)):
        model = tmp_path / kind
        if not model.exists():
            write_vision_model(model, kind)
        done = run_cli_in_process(f"encoder={model}", f"split={split}", *words, main=extract)
        assert done.code == code, done.stderr
        if code:
            assert "holds features of another encoder" in done.stderr
