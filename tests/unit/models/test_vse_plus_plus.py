import pytest
import torch

from helpers.random_pairs import random_pairs
from helpers.small_matchers import DATA, small_matcher
from tangka_match.errors import ConfigError, ShapeError
from tangka_match.models import VSEPlusPlus


def test_equals_the_equations_with_any_mask():
    """The mean of the projected real regions, against the state of the GRU after the last real word."""
    model = small_matcher("vse_plus_plus")
    data = random_pairs(seed=0, images=4, captions=5, words=6)
    rows = []
    for regions, region_mask in zip(data.regions, data.region_mask, strict=True):
        image = model.img_enc.fc(regions[region_mask]).mean(dim=0)
        states = [
            model.txt_enc.cap_rnn(model.txt_enc.embed(ids[mask])[None])[1][-1, 0]
            for ids, mask in zip(data.token_ids, data.token_mask, strict=True)
        ]
        rows.append(torch.stack([torch.cosine_similarity(image, state, dim=0) for state in states]))
    torch.testing.assert_close(data.score(model), torch.stack(rows), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"), [({"word_dim": 0}, "word_dim is 0"), ({"dropout": 1}, "dropout is 1")]
)
def test_refused_settings(settings, message):
    with pytest.raises(ConfigError, match=f"VSEPlusPlus: {message}"):
        VSEPlusPlus(**{**DATA, **settings})


def test_refused_features():
    model = VSEPlusPlus(**DATA, embed_dim=8, word_dim=5)
    with pytest.raises(ShapeError, match="VSEPlusPlus: regions have 7 features"):
        model.encode_images(torch.ones(1, 6, 7), torch.ones(1, 6, dtype=torch.bool))
