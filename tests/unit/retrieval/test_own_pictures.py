import io
import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from helpers.tiny_pretrained import write_chinese_clip
from helpers.tiny_vision import write_vision_model
from tangka_match.data.split import load_split
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.models.picture_towers import load_tower
from tangka_match.retrieval import own_pictures
from tangka_match.retrieval.extraction import extract_split, record_encoder
from tangka_match.retrieval.own_pictures import PictureEncoder


@pytest.fixture(params=["chinese_clip", "dinov2", "resnet"])
def extracted(tmp_path, request):
    """Extract the features of five pictures, and record the encoder; return the split and the pictures."""
    write = write_chinese_clip if request.param == "chinese_clip" else partial(write_vision_model, kind=request.param)
    model, pictures = str(write(tmp_path / "model")), tmp_path / "pictures"
    pictures.mkdir()
    draw = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(draw.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(pictures / f"{number}.png")
    (tmp_path / "c.tsv").write_text("".join(f"{n}.png\t绿度母 {n}\n" for n in range(5)), encoding="utf-8")
    tower = load_tower(model, 2)
    extract_split(tower, pictures, tmp_path / "c.tsv", tmp_path / "data", split="test", batch_size=2)
    record_encoder(tmp_path / "data", model, tower)
    return load_split(tmp_path / "data", "test"), pictures


def test_a_picture_of_the_set_gets_its_own_features(extracted):
    split, pictures = extracted
    encoder = PictureEncoder.of(split)
    for row, name in enumerate(split.image_ids):
        found = encoder.encode((pictures / name).read_bytes())
        expected = split.features.read(np.array([row]))
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_set_without_record_has_no_encoder(extracted):
    split, _ = extracted
    (split.captions_path.parent / "encoder.json").unlink()
    assert PictureEncoder.of(split) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 100_000, '{"encoder": "x", "grid": 2}'])
def test_damaged_record_is_named(extracted, content):
    split, _ = extracted
    (split.captions_path.parent / "encoder.json").write_text(content)
    with pytest.raises(ConfigError, match=r"encoder\.json: not a record"):
        PictureEncoder.of(split)


def test_encoder_of_another_shape_is_refused(extracted):
    split, _ = extracted
    path = split.captions_path.parent / "encoder.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"grid": 3}))
    with pytest.raises(ConfigError, match=r"writes (10|9) regions of \d+ dimensions, but .* has (5|4) of \d+"):
        PictureEncoder.of(split)


@pytest.mark.parametrize("extracted", ["dinov2"], indirect=True)
def test_encoder_with_another_normalisation_is_refused(extracted, tmp_path):
    path = tmp_path / "model" / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean": [0.25, 0.5, 0.5]}))
    with pytest.raises(ConfigError, match=r"has changed since .* \(mean \[0\.48.*\] then, \[0\.25, 0\.5, 0\.5\] now\)"):
        PictureEncoder.of(extracted[0])


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"\x89PNG\r\n\x1a\n"])
def test_other_files_are_refused(extracted, content):
    with pytest.raises(DataFormatError, match="not a picture that can be read"):
        PictureEncoder.of(extracted[0]).encode(content)


def test_large_pictures_are_refused_before_they_are_decoded(extracted, monkeypatch):
    monkeypatch.setattr(own_pictures, "MAX_PIXELS", 99)
    monkeypatch.setattr(own_pictures, "open_picture", None)  # would fail
    content = io.BytesIO()
    Image.new("RGB", (10, 10)).save(content, "PNG")
    with pytest.raises(DataFormatError, match="10 x 10 pixels; at most 99"):
        PictureEncoder.of(extracted[0]).encode(content.getvalue())
