import pytest
import torch

from helpers.random_pairs import random_pairs
from helpers.small_matchers import DATA, small_matcher
from tangka_match.errors import ConfigError, ShapeError
from tangka_match.models import SGRAF
from tangka_match.models.sgraf import similarity as similarity_encoder


@pytest.mark.parametrize(("reasoning", "count"), [("sgr", 16_033_475), ("saf", 15_441_606)])
def test_published_number_of_parameters(reasoning, count):
    with torch.device("meta"):
        model = SGRAF(vocab_size=1562, feature_dim=2048, reasoning=reasoning)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reasoning": "ave"}, "reasoning is 'ave'; it must be one of sgr, saf, both"),
        ({"global_share": 1.0}, "global_share is 1.0; it must be at least 0 and below 1"),
        ({"embed_dim": 0}, "embed_dim is 0; it must be a whole number of at least 1"),
        ({"graph_steps": -1}, "graph_steps is -1"),
        ({"num_regions": 0}, "num_regions is 0"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and below 1"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        SGRAF(**{**DATA, **settings})


def test_refused_features():
    model = small_matcher("sgr")
    with pytest.raises(ShapeError, match="regions have 7 features, the model was built for feature_dim=10"):
        model.encode_images(torch.ones(1, 6, 7), torch.ones(1, 6, dtype=torch.bool))


def test_refuses_more_regions_than_slots():
    model = small_matcher("sgr")
    with pytest.raises(ShapeError, match="images have 9 regions, the model was built for at most num_regions=6"):
        model.encode_images(torch.ones(1, 9, 10), torch.ones(1, 9, dtype=torch.bool))


def test_refuses_a_caption_without_words():
    model, data = small_matcher("sgr"), random_pairs(seed=0, images=1, captions=3, words=4)
    data.token_mask[2] = False
    with pytest.raises(ShapeError, match="caption 2 of this batch has 0 real tokens; at least 1 is needed"):
        model.encode_texts(data.token_ids, data.token_mask)


def test_dropout_acts_in_training_only():
    model = SGRAF(**DATA, embed_dim=8, word_dim=5, sim_dim=6, dropout=0.5)
    data = random_pairs(seed=0, images=3, captions=3, words=4)
    torch.manual_seed(0)
    assert not torch.equal(data.score(model), data.score(model))
    model.eval()
    assert torch.equal(data.score(model), data.score(model))


@pytest.mark.parametrize("settings", [{"normalise_images": False}, {"normalise_texts": False}, {}])
def test_normalisation_of_tokens(settings):
    model = SGRAF(**DATA, embed_dim=8, word_dim=5, sim_dim=6, **settings).eval()
    data = random_pairs(seed=0, images=3, captions=3, words=4)
    images = model.encode_images(data.regions, data.region_mask)
    texts = model.encode_texts(data.token_ids, data.token_mask)
    for encoded, option in ((images, "normalise_images"), (texts, "normalise_texts")):
        norms = encoded.tokens[encoded.mask].norm(dim=1)
        assert (torch.allclose(norms, torch.ones_like(norms), atol=1e-6)) == settings.get(option, True)
        assert (encoded.tokens[~encoded.mask] == 0).all()


@pytest.mark.parametrize("reasoning", ["sgr", "saf"])
@torch.no_grad()
def test_block_size_does_not_change_scores(reasoning, monkeypatch):
    model, data = small_matcher(reasoning).double().eval(), random_pairs(seed=6, images=7, captions=9, words=3)
    data = data._replace(regions=data.regions.double())
    whole = data.score(model)
    monkeypatch.setattr(similarity_encoder, "IMAGES_AT_ONCE", 3)
    monkeypatch.setattr(similarity_encoder, "CAPTIONS_AT_ONCE", 2)
    torch.testing.assert_close(data.score(model), whole, atol=1e-12, rtol=0)


def test_key_bias_has_a_gradient_of_exactly_zero():
    """It cancels in the softmax over the edges of the graph; DDP still expects a gradient."""
    model = small_matcher("sgr").train()
    random_pairs(seed=7, images=3, captions=3, words=4).score(model).sum().backward()
    assert all((step.graph_key_w.bias.grad == 0).all() for step in model.sim_enc.SGR_module)


@pytest.mark.parametrize("reasoning", ["sgr", "saf"])
def test_half_precision_gradients_point_the_same_way(reasoning):
    model, data = small_matcher(reasoning).train(), random_pairs(seed=8, images=6, captions=6, words=4)
    gradients = []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = data.score(model).diagonal().mean()
        found = torch.autograd.grad(loss, [*model.sim_enc.parameters(), *model.img_enc.parameters()])
        assert all(gradient.dtype == torch.float32 for gradient in found)
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


@pytest.mark.parametrize("training", [False, True])
def test_both_reasonings_give_the_mean_score(training):
    """Compared with one SGR and one SAF with the weights of the joint model."""
    sizes = {"embed_dim": 8, "word_dim": 5, "sim_dim": 6, "dropout": 0.0}
    torch.manual_seed(0)
    joint = SGRAF(**DATA, **sizes, reasoning="both").train(training)
    weights = joint.state_dict()
    scores = []
    data = random_pairs(seed=0, images=3, captions=4, words=5)
    for reasoning, read_out in (("sgr", "sim_eval_w"), ("saf", "sim_eval_saf_w")):
        single = SGRAF(**DATA, **sizes, reasoning=reasoning).train(training)
        own = {key: weights[key] for key in single.state_dict()}
        own |= {f"sim_enc.sim_eval_w.{part}": weights[f"sim_enc.{read_out}.{part}"] for part in ("weight", "bias")}
        single.load_state_dict(own)
        scores.append(data.score(single))
    assert not torch.allclose(*scores, atol=1e-4)
    torch.testing.assert_close(data.score(joint), (scores[0] + scores[1]) / 2)


def test_global_branch_adds_the_cosine_of_max_pooled_vectors():
    data = random_pairs(seed=0, images=3, captions=4, words=5)
    plain = small_matcher("saf").eval()
    mixed = SGRAF(**DATA, embed_dim=8, word_dim=5, sim_dim=6, reasoning="saf", global_share=0.25).eval()
    assert plain.state_dict().keys() == mixed.state_dict().keys() - {"global_logit"}
    mixed.load_state_dict(plain.state_dict(), strict=False)
    images = plain.encode_images(data.regions, data.region_mask)
    texts = plain.encode_texts(data.token_ids, data.token_mask)
    largest = [
        torch.stack([row[real].amax(dim=0) for row, real in zip(side.tokens, side.mask, strict=True)])
        for side in (images, texts)
    ]
    cosine = torch.cosine_similarity(largest[0][:, None], largest[1][None], dim=2)
    expected = 0.75 * plain.similarity(images, texts) + 0.25 * cosine
    torch.testing.assert_close(data.score(mixed), expected)
