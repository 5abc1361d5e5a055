import pytest
import torch

from helpers.gradients import assert_same_gradients
from helpers.random_pairs import random_pairs
from helpers.small_matchers import DATA
from tangka_match.errors import ConfigError, ShapeError
from tangka_match.models import SCAN
from tangka_match.ops import stacked_cross_attention

SMOOTH = {"t2i": 9.0, "i2t": 4.0}


def relevances(queries: torch.Tensor, context: torch.Tensor, smooth: float) -> torch.Tensor:
    """Compute equations 1 to 4 of the paper for one pair."""
    cosines = torch.cosine_similarity(queries[:, None], context[None], dim=2)
    clipped = cosines.clamp(min=0)
    shared = clipped / (clipped.square().sum(dim=0, keepdim=True).sqrt() + 1e-8)
    weights = torch.softmax(smooth * shared, dim=1)
    return torch.cosine_similarity(queries, weights @ context, dim=1)


def naive(model: SCAN, images, texts, scale: float | None) -> torch.Tensor:
    rows = []
    for regions, region_mask in zip(images.tokens, images.mask, strict=True):
        row = []
        for words, token_mask in zip(texts.tokens, texts.mask, strict=True):
            sides = (words[token_mask], regions[region_mask])
            queries, context = sides if model.direction == "t2i" else sides[::-1]
            relevance = relevances(queries, context, SMOOTH[model.direction])
            row.append(relevance.mean() if scale is None else torch.exp(scale * relevance).sum().log() / scale)
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("direction", SMOOTH)
@pytest.mark.parametrize("scale", [None, 5.0])
def test_equals_the_equations_in_value_and_gradient(direction, scale):
    torch.manual_seed(0)
    aggregation = {"aggregation": "mean" if scale is None else "log_sum_exp", "log_sum_exp_scale": scale or 6.0}
    sizes = {"embed_dim": 8, "word_dim": 5}
    model = SCAN(**DATA, **sizes, direction=direction, smooth=SMOOTH[direction], **aggregation).double()
    data = random_pairs(seed=0, images=4, captions=5, words=6)
    data = data._replace(regions=data.regions.double())
    images = model.encode_images(data.regions, data.region_mask)
    texts = model.encode_texts(data.token_ids, data.token_mask)
    fast, slow = model.similarity(images, texts), naive(model, images, texts, scale)
    torch.testing.assert_close(fast, slow, atol=1e-6, rtol=0)  # norms have an epsilon
    assert_same_gradients(fast, slow, model.parameters(), atol=1e-5, rtol=1e-4)


def test_attention_to_orthogonal_regions_by_hand():
    """Each word equals one of two orthogonal regions, so that the weights are softmax(9, 0)."""
    parts, real = torch.eye(2)[None], torch.ones(1, 2, dtype=torch.bool)
    own = torch.softmax(torch.tensor([9.0, 0.0]), dim=0)
    expected = (own[0] / own.norm()).expand(1, 1, 2)
    torch.testing.assert_close(stacked_cross_attention(parts, real, parts, real, 9.0), expected)


def test_negative_cosines_are_clipped():
    """In equation 1, a cosine of -1 gives the same weight as one of 0."""
    query, real = torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, dtype=torch.bool)
    context = torch.tensor([[[-1.0, 0.0], [0.0, 1.0]]])
    seen = stacked_cross_attention(query, real, context, torch.ones(1, 2, dtype=torch.bool), 9.0)
    torch.testing.assert_close(seen, torch.tensor([[[-(0.5**0.5)]]]))


@pytest.mark.parametrize("direction", SMOOTH)
def test_log_sum_exp_of_an_image_without_regions_is_zero(direction):
    model = SCAN(**DATA, direction=direction, smooth=4, aggregation="log_sum_exp", embed_dim=8, word_dim=5)
    data = random_pairs(seed=1, images=2, captions=2, words=1)
    data.region_mask[0] = False
    scores = data.score(model)
    scores.sum().backward()
    torch.testing.assert_close(scores[0], torch.zeros(2))
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction": "both"}, "direction is 'both'; it must be one of t2i, i2t"),
        ({"aggregation": "max"}, "aggregation is 'max'; it must be one of mean, log_sum_exp"),
        ({"smooth": 0}, "smooth is 0; it must be above 0"),
        ({"log_sum_exp_scale": -1.0}, "log_sum_exp_scale is -1.0; it must be above 0"),
        ({"word_dim": 0}, "word_dim is 0"),
        ({"dropout": 1}, "dropout is 1"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        SCAN(**{**DATA, "direction": "t2i", "smooth": 9.0, **settings})


def test_refused_features():
    model = SCAN(**DATA, direction="t2i", smooth=9.0, embed_dim=8, word_dim=5)
    with pytest.raises(ShapeError, match="SCAN: regions have 7 features, the model was built for feature_dim=10"):
        model.encode_images(torch.ones(1, 6, 7), torch.ones(1, 6, dtype=torch.bool))
