import pytest
import torch

from helpers.gradients import assert_same_gradients
from helpers.random_pairs import random_pairs
from helpers.small_matchers import DATA, small_matcher
from tangka_match.errors import ConfigError, ShapeError
from tangka_match.models import VSE
from tangka_match.types import Encoded


def with_explicit_contexts(model: VSE, images: Encoded, texts: Encoded) -> torch.Tensor:
    """Compute the scores pair by pair, from the context vector of each word."""
    share = model.local_logit.sigmoid()
    rows = []
    for vector, regions, region_mask in zip(images.pooled, images.tokens, images.mask, strict=True):
        row = []
        for text_vector, words, token_mask in zip(texts.pooled, texts.tokens, texts.mask, strict=True):
            keys, values = regions[region_mask].chunk(2, dim=1)
            queries, own = words[token_mask].chunk(2, dim=1)
            context = torch.softmax(9 * queries @ keys.T, dim=1) @ values
            local = torch.cosine_similarity(context, own, dim=1).mean()
            row.append((1 - share) * vector @ text_vector + share * local)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def test_number_of_parameters():
    with torch.device("meta"):
        model = VSE(vocab_size=1562, feature_dim=2048)
    assert sum(parameter.numel() for parameter in model.parameters()) == 28_465_785


def test_equals_explicit_contexts_in_value_and_gradient():
    model = small_matcher("vse").double()
    data = random_pairs(seed=0, images=4, captions=5, words=6)
    data = data._replace(regions=data.regions.double())
    images = model.encode_images(data.regions, data.region_mask)
    texts = model.encode_texts(data.token_ids, data.token_mask)
    fast, slow = model.similarity(images, texts), with_explicit_contexts(model, images, texts)
    torch.testing.assert_close(fast, slow, atol=1e-7, rtol=0)  # norms have an epsilon
    assert_same_gradients(fast, slow, model.parameters(), atol=1e-6, rtol=1e-5)


def test_encoded_vectors_are_normalised():
    data = random_pairs(seed=0, images=4, captions=5, words=6)
    model = small_matcher("vse")
    for encoded in (
        model.encode_images(data.regions, data.region_mask),
        model.encode_texts(data.token_ids, data.token_mask),
    ):
        halves = torch.stack(encoded.tokens[encoded.mask].chunk(2, dim=1))
        torch.testing.assert_close(halves.norm(dim=2), torch.ones(halves.shape[:2]))
        torch.testing.assert_close(encoded.pooled.norm(dim=1), torch.ones(len(encoded)))


def test_initial_share_of_the_local_score():
    assert VSE(**DATA, local_share=0.2).local_logit.sigmoid().item() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head_dim": 0}, "head_dim is 0; it must be a whole number of at least 1"),
        ({"dropout": -0.1}, "dropout is -0.1; it must be at least 0 and below 1"),
        ({"smooth": 0}, "smooth is 0; it must be above 0"),
        ({"local_share": 1.0}, "local_share is 1.0; it must be above 0 and below 1"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        VSE(**{**DATA, **settings})


def test_refused_features():
    with pytest.raises(ShapeError, match="VSE: regions have 7 features, the model was built for feature_dim=10"):
        small_matcher("vse").encode_images(torch.ones(1, 6, 7), torch.ones(1, 6, dtype=torch.bool))
