import pytest
import torch

from helpers.random_pairs import random_pairs
from helpers.small_matchers import DATA, small_matcher
from tangka_match.errors import ConfigError, ShapeError
from tangka_match.models import DualPath


def test_number_of_parameters():
    model = DualPath(vocab_size=1562, feature_dim=2048)
    assert sum(parameter.numel() for parameter in model.parameters()) == 48_020_176


def test_scores_are_cosines_of_normalised_vectors():
    data = random_pairs(seed=0, images=4, captions=5, words=6)
    model = small_matcher("dual_path")
    images = model.encode_images(data.regions, data.region_mask)
    texts = model.encode_texts(data.token_ids, data.token_mask)
    torch.testing.assert_close(images.pooled.norm(dim=1), torch.ones(4))
    expected = torch.cosine_similarity(images.pooled[:, None], texts.pooled, dim=2)
    torch.testing.assert_close(model.similarity(images, texts), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_dim": 0}, "hidden_dim is 0; it must be a whole number of at least 1"),
        ({"dropout": 1.5}, "dropout is 1.5; it must be at least 0 and below 1"),
        ({"region_dim": 20, "num_heads": 3}, "num_heads is 3; it must divide region_dim=20"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        DualPath(**{**DATA, **settings})


def test_refused_features():
    with pytest.raises(ShapeError, match=r"DualPath: regions have 7 features, .* feature_dim=10"):
        small_matcher("dual_path").encode_images(torch.ones(1, 6, 7), torch.ones(1, 6, dtype=torch.bool))
