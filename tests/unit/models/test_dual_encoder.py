import pytest
import torch

from helpers.random_pairs import random_pairs
from helpers.small_matchers import DATA
from tangka_match.errors import ConfigError, ShapeError
from tangka_match.models import DualEncoder
from tangka_match.types import WordAware


def small(**settings):
    torch.manual_seed(0)
    return DualEncoder(**DATA, **{"embed_dim": 8, "word_dim": 5, "num_heads": 2, **settings}).eval()


def test_follows_the_word_aware_protocol():
    assert isinstance(small(), WordAware)


@pytest.mark.parametrize("side", ["image_pooling", "text_pooling"])
@pytest.mark.parametrize("pooling", ["mean", "max", "k_max", "gpo"])
@torch.no_grad()
def test_poolings_give_different_scores(side, pooling):
    data = random_pairs(seed=0, images=4, captions=4, words=6)
    others = [name for name in ("mean", "max", "k_max", "gpo") if name != pooling]
    fixed = {"pooling_k": 2}
    ours = small(**{side: pooling}, **fixed)
    assert all((data.score(ours) - data.score(small(**{side: name}, **fixed))).abs().max() > 1e-5 for name in others)


def test_linear_mean_encoder_by_hand():
    model = small(image_pooling="mean", dropout=0.0)
    regions = torch.randn(1, 3, 10)
    mask = torch.tensor([[True, True, False]])
    rows = [model.region_encoder.fc(row) + model.region_encoder.mlp(row) for row in regions[0, :2]]
    expected = torch.nn.functional.normalize((rows[0] + rows[1]) / 2, dim=0)
    torch.testing.assert_close(model.encode_images(regions, mask).pooled[0], expected)


@pytest.mark.parametrize("encoder", ["gru", "lstm", "transformer"])
@torch.no_grad()
def test_long_captions(encoder):
    ids = torch.randint(4, 30, (2, 400))
    pooled = small(text_encoder=encoder).encode_texts(ids, torch.ones(2, 400, dtype=torch.bool)).pooled
    torch.testing.assert_close(pooled.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text_layers": 0}, "text_layers is 0; it must be a whole number of at least 1"),
        ({"character_dim": -1}, "character_dim is -1; it must be a whole number"),
        ({"image_pooling": "median"}, "image_pooling is 'median'; it must be one of mean, max, k_max, gpo"),
        ({"text_encoder": "bert"}, "text_encoder is 'bert'; it must be one of gru, lstm, transformer"),
        ({"region_encoder": "cnn"}, "region_encoder is 'cnn'; it must be one of linear, transformer"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and below 1"),
        ({"text_encoder": "transformer", "num_heads": 3}, "num_heads is 3; it must divide embed_dim=8"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        small(**settings)


def test_num_heads_has_no_effect_without_a_transformer():
    data = random_pairs(seed=0, images=4, captions=4, words=6)
    torch.testing.assert_close(data.score(small(num_heads=3)), data.score(small(num_heads=2)), rtol=0, atol=0)


def test_refused_features():
    with pytest.raises(
        ShapeError, match="DualEncoder: regions have 7 features, the model was built for feature_dim=10"
    ):
        small().encode_images(torch.ones(1, 6, 7), torch.ones(1, 6, dtype=torch.bool))
