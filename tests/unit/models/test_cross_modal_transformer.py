import pytest
import torch

from helpers.random_pairs import random_pairs
from helpers.small_matchers import DATA, small_matcher
from tangka_match.errors import ConfigError, ShapeError
from tangka_match.models import CrossModalTransformer, cross_modal_transformer

NAME = "cross_modal_transformer"


def attend(layer, x, context):
    """Compute ``CrossAttention`` of one pair without padding by torch's multi-head attention."""
    heads = torch.nn.MultiheadAttention(x.shape[1], layer.num_heads, batch_first=True, dtype=x.dtype)
    parts = (layer.query, layer.key, layer.value)
    with torch.no_grad():
        heads.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        heads.in_proj_bias.copy_(torch.cat([p.bias if p.bias is not None else torch.zeros(x.shape[1]) for p in parts]))
        heads.out_proj.load_state_dict(layer.out.state_dict())
    seen = layer.context_norm(context)[None]
    return x + heads(layer.query_norm(x)[None], seen, seen)[0][0]


@torch.no_grad()
def test_equals_torch_attention_for_each_pair():
    model = small_matcher(NAME).double().eval()
    data = random_pairs(seed=0, images=3, captions=4, words=5)
    data = data._replace(regions=data.regions.double())
    images = model.encode_images(data.regions, data.region_mask)
    texts = model.encode_texts(data.token_ids, data.token_mask)
    expected = torch.empty(3, 4, dtype=torch.float64)
    for i in range(3):
        for c in range(4):
            regions, words = images.tokens[i][images.mask[i]], texts.tokens[c][texts.mask[c]]
            for layer in model.layers:
                new_words = attend(layer.to_regions, words, regions)
                new_regions = attend(layer.to_words, regions, words)
                words = new_words + layer.refine_words.layers(new_words)
                regions = new_regions + layer.refine_regions.layers(new_regions)
            means = model.region_norm(regions).mean(dim=0), model.word_norm(words).mean(dim=0)
            expected[i, c] = torch.cosine_similarity(*means, dim=0)
    torch.testing.assert_close(model.similarity(images, texts), expected, atol=1e-7, rtol=0)


def test_block_size_does_not_change_scores_and_gradients(monkeypatch):
    """Blocks of one pair are recomputed in the backward pass."""
    data = random_pairs(seed=0, images=4, captions=5, words=6)
    found = []
    for elements in (cross_modal_transformer.BLOCK_ELEMENTS, 1):
        monkeypatch.setattr(cross_modal_transformer, "BLOCK_ELEMENTS", elements)
        model = small_matcher(NAME)
        scores = data.score(model)
        scores.square().sum().backward()
        found.append([scores, *(p.grad for p in model.parameters())])
    for whole, pieces in zip(*found, strict=True):
        torch.testing.assert_close(pieces, whole, atol=1e-4, rtol=1e-4)


def test_blocks_stay_below_the_size_limit(monkeypatch):
    monkeypatch.setattr(cross_modal_transformer, "BLOCK_ELEMENTS", 200)
    held = []
    model = small_matcher(NAME).eval()
    model.layers[0].register_forward_hook(lambda _, inputs, __: held.append(inputs[0].numel() + inputs[2].numel()))
    with torch.no_grad():
        random_pairs(seed=0, images=4, captions=5, words=6).score(model)
    assert len(held) > 1
    assert max(held) <= 200


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_heads": 3, "embed_dim": 8}, "num_heads is 3; it must divide embed_dim=8"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"dropout": 1.5}, "dropout is 1.5"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        CrossModalTransformer(**{**DATA, **settings})


def test_refused_features():
    with pytest.raises(ShapeError, match="CrossModalTransformer: regions have 7 features"):
        small_matcher(NAME).encode_images(torch.ones(1, 6, 7), torch.ones(1, 6, dtype=torch.bool))
