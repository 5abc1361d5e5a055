from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from helpers.tiny_pretrained import TEXT, VISION, write_bert, write_chinese_clip
from tangka_match.errors import ConfigError
from tangka_match.models import ChineseCLIP
from tangka_match.models.chinese_clip import VisionTower
from tangka_match.types import WholePictureMatcher

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def matcher():
    config = transformers.ChineseCLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=8)
    torch.manual_seed(0)
    built = ChineseCLIP(vocab_size=20, feature_dim=8, num_regions=5, text_config=config.to_dict()).eval()
    torch.nn.init.normal_(built.patch_projection.weight)
    return built


def test_declares_the_first_region_as_the_whole_picture(matcher):
    assert isinstance(matcher, WholePictureMatcher)


def test_masked_regions_have_no_influence(matcher):
    regions = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[0, 0] = mask[1, 3] = False
    noise = torch.where(mask[..., None], regions, 9.0)
    found, expected = (matcher.encode_images(each, mask).pooled for each in (noise, regions))
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(matcher.encode_images(regions, torch.ones_like(mask)).pooled[0], found[0])


SIDE, PATCH = 4, 8  # patches per side of the tiny model, and pixels per side of a patch
GRIDS = [1, 2, 3, 4]  # 3 does not divide the patches


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_chinese_clip(tmp_path_factory.mktemp("clip")))


def picture(height=SIDE * PATCH, width=SIDE * PATCH, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def encode(tower, pixels):
    return tower([Image.fromarray(pixels)])[0]


class NumberedPatches(nn.Module):
    """Vision model with states (n, -n): n is 100 for the whole picture, and the number of the patch for a patch."""

    post_layernorm = nn.Identity()

    def forward(self, pixel_values):
        numbers = torch.tensor([100.0, *range(SIDE * SIDE)])
        return SimpleNamespace(last_hidden_state=torch.stack([numbers, -numbers], dim=1)[None])


def of_numbered_patches(folder, grid):
    tower = VisionTower(folder, grid)
    tower.vision_model, tower.projection = NumberedPatches(), nn.Linear(2, 2, bias=False)
    nn.init.eye_(tower.projection.weight)
    return tower


def without_attention(folder, grid):
    """Build a tower without attention, in which a patch depends on its own pixels only."""
    tower = VisionTower(folder, grid)
    tower.vision_model.encoder.layers = nn.ModuleList()
    return tower


def changed_cells(before, after):
    return {cell for cell in range(len(before) - 1) if not torch.equal(before[cell + 1], after[cell + 1])}


@pytest.mark.parametrize(
    ("grid", "cells"),
    [
        (1, [7.5]),
        (2, [2.5, 4.5, 10.5, 12.5]),  # the first is the mean of patches 0, 1, 4 and 5
        (3, [2.5, 3.5, 4.5, 6.5, 7.5, 8.5, 10.5, 11.5, 12.5]),  # 2 by 2 patches, one further each time
        (4, list(range(16))),
    ],
)
def test_regions_are_the_whole_and_means_of_patches_row_by_row(folder, grid, cells):
    found = encode(of_numbered_patches(folder, grid), picture())
    assert found[:, 0].tolist() == [100.0, *cells]
    assert torch.equal(found[:, 1], -found[:, 0])


@pytest.mark.parametrize(
    ("grid", "intervals"),
    [
        (1, [(0, 1)]),
        (2, [(0, 0.5), (0.5, 1)]),
        (3, [(0, 0.5), (0.25, 0.75), (0.5, 1)]),  # patches 0 to 1, 1 to 2 and 2 to 3
        (4, [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]),
    ],
)
def test_boxes_are_the_whole_and_the_cells_row_by_row(folder, grid, intervals):
    boxes = VisionTower(folder, grid).boxes()
    rows = [(left, top, right, bottom) for top, bottom in intervals for left, right in intervals]
    assert boxes.dtype == np.float32
    assert boxes.tolist() == [[0, 0, 1, 1], *map(list, rows)]


@pytest.mark.parametrize("grid", GRIDS)
def test_patch_changes_only_the_cells_that_contain_it(folder, grid):
    tower = without_attention(folder, grid)
    pictures, held = [picture()], []
    for row, column in product(range(SIDE), range(SIDE)):
        pictures.append(picture())
        pictures[-1][row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] = 255
        x, y = (column + 0.5) / SIDE, (row + 0.5) / SIDE
        held.append({n for n, (x1, y1, x2, y2) in enumerate(tower.boxes()[1:]) if x1 < x < x2 and y1 < y < y2})
    before, *after = tower([Image.fromarray(each) for each in pictures])
    assert [changed_cells(before, each) for each in after] == held
    assert all(held)


def test_regions_equal_the_projections_of_transformers(folder):
    transformers = pytest.importorskip("transformers")
    clip = transformers.ChineseCLIPModel.from_pretrained(folder).eval()
    prepare = transformers.ChineseCLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False)
    pixels = prepare([Image.fromarray(picture(40, 24))], return_tensors="pt")["pixel_values"]
    found = encode(VisionTower(folder, SIDE), picture(40, 24))
    with torch.no_grad():
        torch.testing.assert_close(found[0], clip.get_image_features(pixel_values=pixels).pooler_output[0])
        states = clip.vision_model(pixel_values=pixels).last_hidden_state[0, 1:]
        torch.testing.assert_close(found[1:], clip.visual_projection(clip.vision_model.post_layernorm(states)))


def test_wide_pictures_are_resized_without_cropping(folder):
    """The leftmost eighth of a picture that is twice as wide as high changes the left cells only."""
    tower, wide = without_attention(folder, 2), picture(width=2 * SIDE * PATCH)
    painted = wide.copy()
    painted[:, :PATCH] = 255
    assert changed_cells(encode(tower, wide), encode(tower, painted)) == {0, 2}


def test_pictures_of_a_batch_are_independent(folder):
    tower = VisionTower(folder, 3)
    pictures = [picture(seed=1), picture(48, 20, seed=2)]
    together = tower([Image.fromarray(each) for each in pictures])
    assert together.shape == (2, 10, tower.feature_dim)
    torch.testing.assert_close(together, torch.stack([encode(tower, each) for each in pictures]))


@pytest.mark.parametrize("grid", [0, 5])
def test_refused_grids(folder, grid):
    with pytest.raises(ConfigError, match=rf"grid={grid}: allowed are 1 to 4, the patches along a side of {folder}"):
        VisionTower(folder, grid)


def test_refuses_a_text_model(tmp_path):
    with pytest.raises(ConfigError, match=r"/bert: a model of type 'bert'; pictures need a Chinese-CLIP"):
        VisionTower(str(write_bert(tmp_path / "bert")), 2)
