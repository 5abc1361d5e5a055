import pytest
import torch

from tangka_match.errors import ConfigError, DataFormatError, ShapeError
from tangka_match.metrics import retrieval_ranks, summarise
from tangka_match.models import CCA
from tangka_match.retrieval.hubness import nnn
from tangka_match.types import FittedMatcher, Matcher, PairedCaptions

CONCEPTS, FEATURES = 12, 24


def planted(count, seed):
    """Draw images of three of twelve concepts plus two noise regions, and captions that name the concepts."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(CONCEPTS, FEATURES, generator=torch.Generator().manual_seed(99))
    things = torch.stack([torch.randperm(CONCEPTS, generator=generator)[:3] for _ in range(count)])
    noise = torch.randn(count, 2, FEATURES, generator=generator)
    regions = torch.cat([codes[things] + 0.3 * torch.randn(count, 3, FEATURES, generator=generator), noise], dim=1)
    ids = torch.cat([torch.ones(count, 1, dtype=torch.long), 4 + things, torch.full((count, 1), 2)], dim=1)
    return regions, torch.ones(count, 5, dtype=torch.bool), ids, torch.ones(count, 5, dtype=torch.bool)


def small(**settings):
    sizes = {"embed_dim": 16, "codebook_size": 16, "num_hashes": 64, "rank": 60}
    return CCA(vocab_size=4 + CONCEPTS, feature_dim=FEATURES, **sizes, **settings)


def fit(model, data, captions_per_image=1):
    regions, region_mask, ids, token_mask = data
    words = ("<pad>", "<start>", "<end>", "<unk>", *"宝剑经书莲花白云高山流水"[:CONCEPTS])
    captions = PairedCaptions(ids, token_mask, torch.arange(len(ids)) // captions_per_image, words)
    return model.fit(lambda: zip(regions.split(50), region_mask.split(50), strict=True), captions)


@torch.no_grad()
def mean_r1(model, data):
    regions, region_mask, ids, token_mask = data
    scores = model.similarity(model.encode_images(regions, region_mask), model.encode_texts(ids, token_mask))
    return summarise(retrieval_ranks(scores, torch.arange(len(ids))))["mean_r1"]


def test_follows_the_fitted_matcher_protocol():
    assert isinstance(small(), Matcher)
    assert isinstance(small(), FittedMatcher)


def test_fit_generalises_to_unseen_images():
    torch.manual_seed(0)
    model, unseen = small(), planted(60, seed=1)
    before = mean_r1(model, unseen)
    chosen = fit(model, planted(240, seed=0))
    assert set(chosen) == {"image_ridge", "text_ridge"}
    assert before < 15
    assert mean_r1(model, unseen) > 60


def test_fit_keeps_the_scale_of_the_weights():
    model = small()
    fit(model, planted(60, seed=0))
    for weight in (model.image_projection, model.text_projection):
        assert weight.square().mean().sqrt().item() == pytest.approx(0.02, rel=1e-3)


def test_fit_with_several_captions_per_image():
    regions, region_mask, ids, token_mask = planted(240, seed=0)
    twice = (regions, region_mask, ids.repeat_interleave(2, dim=0), token_mask.repeat_interleave(2, dim=0))
    model = small()
    fit(model, twice, captions_per_image=2)
    assert mean_r1(model, planted(60, seed=1)) > 60


def test_fit_depends_on_the_seed_and_keeps_the_generator_state():
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        model = small()
        state = torch.get_rng_state()
        fit(model, planted(60, seed=0))
        assert torch.equal(torch.get_rng_state(), state)
        weights.append(model.image_projection.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_hub_correction_is_that_of_the_training_pairs():
    """The fit differs in its banks only, and these rank as `nnn` with all training captions and images does."""
    data, (regions, region_mask, ids, token_mask) = planted(120, seed=0), planted(30, seed=1)
    models = []
    for settings in ({}, {"hub_weight": 0.5}):
        torch.manual_seed(0)
        models.append(small(**settings))
        fit(models[-1], data)
    plain, corrected = models
    torch.testing.assert_close(plain.image_projection, corrected.image_projection)
    with torch.no_grad():
        images, texts = plain.encode_images(regions, region_mask), plain.encode_texts(ids, token_mask)
        scores = plain.similarity(images, texts)
        bank_i2t = plain.similarity(plain.encode_images(*data[:2]), texts)
        bank_t2i = plain.similarity(images, plain.encode_texts(*data[2:])).T
        found = corrected.similarity(
            corrected.encode_images(regions, region_mask), corrected.encode_texts(ids, token_mask)
        )
    for one, expected in ((found, nnn(scores, bank_i2t, 0.5, 32)), (found.T, nnn(scores.T, bank_t2i, 0.5, 32))):
        difference = one - expected
        torch.testing.assert_close(difference, difference[:, :1].expand_as(difference), atol=1e-5, rtol=0)


def test_a_negative_hub_weight_is_refused():
    with pytest.raises(ConfigError, match="hub_weight is -1"):
        small(hub_weight=-1)


def test_fit_refuses_too_few_images():
    with pytest.raises(ShapeError, match=r"11 training images; .* at least 12"):
        fit(small(), planted(11, seed=0))


def test_refused_features():
    with pytest.raises(ShapeError, match="regions have 7 features, the model was built for feature_dim=24"):
        small().encode_images(torch.zeros(1, 5, 7), torch.ones(1, 5, dtype=torch.bool))


@pytest.mark.parametrize("name", ["embed_dim", "codebook_size", "num_hashes", "rank"])
def test_refused_sizes(name):
    with pytest.raises(ConfigError, match=f"CCA: {name} is 0"):
        CCA(vocab_size=9, feature_dim=4, **{name: 0})


@pytest.mark.parametrize("constant", ["captions", "images"])
def test_fit_names_the_side_without_variation(constant):
    regions, region_mask, ids, token_mask = planted(60, 0)
    if constant == "captions":
        ids = ids[:1].expand_as(ids)
    else:
        regions = regions[:1].expand_as(regions)
    with pytest.raises(DataFormatError, match=f"all training {constant} have the same features"):
        fit(small(), (regions, region_mask, ids, token_mask))
