import pytest
import torch

from helpers.tiny_pretrained import TEXT, VISION
from tangka_match.models import ChineseCLIP
from tangka_match.types import WholePictureMatcher

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def matcher():
    config = transformers.ChineseCLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=8)
    torch.manual_seed(0)
    built = ChineseCLIP(vocab_size=20, feature_dim=8, num_regions=5, text_config=config.to_dict()).eval()
    torch.nn.init.normal_(built.patch_projection.weight)
    return built


def test_it_says_that_the_first_region_is_the_whole_picture(matcher):
    assert isinstance(matcher, WholePictureMatcher)


def test_masked_regions_have_no_influence_the_whole_picture_neither(matcher):
    regions = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[0, 0] = mask[1, 3] = False
    noise = torch.where(mask[..., None], regions, 9.0)
    found, expected = (matcher.encode_images(each, mask).pooled for each in (noise, regions))
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(matcher.encode_images(regions, torch.ones_like(mask)).pooled[0], found[0])
