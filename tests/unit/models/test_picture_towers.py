import json

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.tiny_pretrained import write_bert, write_chinese_clip
from helpers.tiny_vision import MODELS, SIZE, write_vision_model
from tangka_match.errors import ConfigError
from tangka_match.models.chinese_clip import VisionTower
from tangka_match.models.picture_towers import GridTower, load_tower


@pytest.fixture(scope="module")
def photographs():
    data = pytest.importorskip("skimage.data")
    return [Image.fromarray(picture()) for picture in (data.astronaut, data.coffee, data.chelsea)]


@pytest.fixture(scope="module", params=list(MODELS))
def model(request, tmp_path_factory):
    """Return the folder of a model and its number of patches per side."""
    return str(write_vision_model(tmp_path_factory.mktemp("model") / request.param, request.param)), MODELS[
        request.param
    ][-1]


def last_map(folder, side, pictures):
    """Encode with transformers alone; return the patches (B, side, side, F)."""
    transformers = pytest.importorskip("transformers")
    network = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    scaled = torch.stack(
        [torch.tensor(np.asarray(p.resize((SIZE, SIZE), processor.resample))).permute(2, 0, 1) for p in pictures]
    )
    mean, deviation = (torch.tensor(each)[:, None, None] for each in (processor.image_mean, processor.image_std))
    with torch.no_grad():
        states = network(pixel_values=(scaled / 255 - mean) / deviation).last_hidden_state
    if states.ndim == 4:
        return states.permute(0, 2, 3, 1)
    return states[:, -(side**2) :].unflatten(1, (side, side))


def test_regions_are_means_of_patches_row_by_row(model, photographs):
    folder, side = model
    found = load_tower(folder, 2)(photographs)
    patches, half = last_map(folder, side, photographs), side // 2
    expected = [patches[:, y : y + half, x : x + half].mean(dim=(1, 2)) for y in (0, half) for x in (0, half)]
    torch.testing.assert_close(found, torch.stack(expected, dim=1), atol=1e-5, rtol=1e-4)
    assert (found[:, 0] - found[:, 1]).abs().max() > 1e-3


def test_boxes_tile_the_picture(model):
    tower = load_tower(model[0], 3)
    assert (tower.num_regions, tower.boxes().shape) == (9, (9, 4))
    rows = [(0, 0.5), (0.25, 0.75), (0.5, 1)]
    assert tower.boxes().tolist() == [[x1, y1, x2, y2] for y1, y2 in rows for x1, x2 in rows]


def test_too_fine_a_grid_is_refused(model):
    with pytest.raises(ConfigError, match=r"grid=5: allowed are 1 to 4, the patches along a side of"):
        load_tower(model[0], 5)


@pytest.mark.parametrize(("config", "model_class"), [("CLIPConfig", "CLIPModel"), ("SiglipConfig", "SiglipModel")])
def test_vision_tower_of_a_model_of_pictures_and_text(config, model_class, tmp_path, photographs):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    both = {"text_config": {**sizes, "vocab_size": 50}, "vision_config": {**sizes, "image_size": SIZE, "patch_size": 8}}
    network = getattr(transformers, model_class)(getattr(transformers, config)(**both))
    network.save_pretrained(tmp_path)
    size = {"height": SIZE, "width": SIZE}
    transformers.SiglipImageProcessorPil(size=size).save_pretrained(tmp_path)
    tower = load_tower(str(tmp_path), 4)
    pixels = tower.pixels(photographs)
    with torch.no_grad():
        expected = network.eval().vision_model(pixel_values=pixels).last_hidden_state[:, -16:]
    torch.testing.assert_close(tower(photographs), expected)


def test_merged_patches(tmp_path, photographs):
    """A Swin merges patches: a quarter of them remain after two stages."""
    transformers = pytest.importorskip("transformers")
    config = transformers.SwinConfig(
        image_size=SIZE, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4
    )
    transformers.SwinModel(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessorPil(size={"height": SIZE, "width": SIZE}).save_pretrained(tmp_path)
    assert load_tower(str(tmp_path), 4)(photographs).shape == (3, 16, 16)


def test_tokens_that_are_no_patches_are_refused(tmp_path):
    """The detection tokens of a YOLOS follow its patches, and must not be taken for them."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.YolosConfig(**sizes, image_size=[SIZE, SIZE], patch_size=8, num_detection_tokens=6)
    transformers.YolosModel(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessorPil(size={"height": SIZE, "width": SIZE}).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="23 tokens of a 32 x 32 picture are no square of patches"):
        load_tower(str(tmp_path), 2)


def test_chinese_clip_keeps_its_own_tower(tmp_path):
    assert isinstance(load_tower(str(write_chinese_clip(tmp_path)), 2), VisionTower)


def test_text_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"of type 'bert', which does not take pictures; give a vision model"):
        load_tower(str(write_bert(tmp_path)), 2)


def test_missing_image_processor_is_named(tmp_path):
    folder = write_vision_model(tmp_path, "vit")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=r"preprocessor_config\.json of this model folder is missing or damaged"):
        load_tower(str(folder), 2)


def test_missing_input_size_is_named(tmp_path):
    folder = write_vision_model(tmp_path, "vit")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"size": {"max_height": 9, "max_width": 9}}))
    with pytest.raises(ConfigError, match=r"preprocessor_config\.json gives no input size"):
        GridTower(str(folder), 2)
