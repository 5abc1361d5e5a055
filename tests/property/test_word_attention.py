"""Word-to-region attention weights equal those of the score."""

import pytest
import torch

from tangka_match.models import SGRAF, VSE, DualPath
from tangka_match.models.vse import CrossModalAttention
from tangka_match.types import Attentive

SIZES = {"vocab_size": 20, "feature_dim": 6, "embed_dim": 8, "word_dim": 5}
MODELS = {
    "vse": lambda: VSE(**SIZES, lstm_dim=4, head_dim=8, pooling_dim=4, attention_dim=4),
    "saf": lambda: SGRAF(**SIZES, num_regions=5, reasoning="saf", sim_dim=4),
}


@pytest.mark.parametrize("name", MODELS)
def test_weights_sum_to_one_over_the_real_regions(name):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1, 3:] = False
    words = torch.tensor([[True] * 4, [True] * 3 + [False]])
    images = model.encode_images(torch.rand(3, 5, 6), mask)
    texts = model.encode_texts(torch.randint(4, 20, (2, 4)), words)
    assert isinstance(model, Attentive)
    weights, note = model.word_attention(images, texts)
    assert weights.shape == (3, 2, 4, 5)
    assert torch.allclose(weights.sum(dim=3)[:, words], torch.ones(3, 7))
    assert (weights[1, :, :, 3:] == 0).all()
    assert "attention" in note


def test_weights_reproduce_the_cosines_of_the_score():
    torch.manual_seed(0)
    layer = CrossModalAttention(region_dim=6, word_dim=5, attention_dim=4, smooth=9)
    regions, words = layer.project_regions(torch.randn(2, 3, 6)), layer.project_words(torch.randn(4, 5, 5))
    real, tokens = torch.ones(2, 3, dtype=torch.bool), torch.ones(4, 5, dtype=torch.bool)
    seen = torch.einsum("ictr,ira->icta", layer.weights(regions, real, words), regions[..., 4:])
    by_hand = torch.cosine_similarity(seen, words[None, :, :, 4:].expand_as(seen), dim=3).mean(dim=2)
    assert torch.allclose(layer(regions, real, words, tokens), by_hand, atol=1e-5)


def test_note_gives_the_share_of_the_local_score():
    model = VSE(**SIZES, lstm_dim=4, head_dim=8, pooling_dim=4, attention_dim=4, local_share=0.25).eval()
    images = model.encode_images(torch.rand(1, 2, 6), torch.ones(1, 2, dtype=torch.bool))
    texts = model.encode_texts(torch.randint(4, 20, (1, 3)), torch.ones(1, 3, dtype=torch.bool))
    assert "share of a score is 25 %" in model.word_attention(images, texts).note


def test_matcher_of_pooled_vectors_has_no_word_attention():
    model = DualPath(**SIZES, lstm_dim=4, region_dim=8, hidden_dim=8)
    assert not isinstance(model, Attentive)
