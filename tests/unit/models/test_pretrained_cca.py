"""`PretrainedCCA`: sentence vectors of a tiny encoder beside the bag of pieces."""

import pytest
import torch
from torch import nn

from helpers.tiny_pretrained import CHARACTERS, PIECES, write_bert
from tangka_match.data.tokenizer import PieceTokenizer
from tangka_match.errors import ConfigError
from tangka_match.models import CCA, PretrainedCCA
from tangka_match.models.gaussian_kernel import COMPONENTS
from tangka_match.models.registry import build_matcher
from tangka_match.types import FittedMatcher, Matcher, PairedCaptions, PretrainedMatcher

FEATURES = 12


@pytest.fixture
def folder(tmp_path):
    return str(write_bert(tmp_path / "bert"))


@pytest.fixture
def tokenizer(folder):
    return PieceTokenizer(folder)


def build(folder, **settings):
    torch.manual_seed(0)
    sizes = {"vocab_size": len(PIECES), "feature_dim": FEATURES, "embed_dim": 8, "codebook_size": 8, "num_hashes": 64}
    return PretrainedCCA(**sizes, **{"rank": 30, **settings}, text_model=folder)


def pairs(tokenizer, count=60, seed=0):
    """Draw captions of four characters, and images of one region for each."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(len(CHARACTERS), FEATURES, generator=torch.Generator().manual_seed(9))
    drawn = torch.stack([torch.randperm(len(CHARACTERS), generator=generator)[:4] for _ in range(count)])
    texts = ["".join(CHARACTERS[i] for i in row) for row in drawn.tolist()]
    ids = torch.tensor([tokenizer.vocabulary.encode(tokenizer(text)) for text in texts])
    return codes[drawn], torch.ones(count, 4, dtype=torch.bool), ids, torch.ones_like(ids, dtype=torch.bool)


def fit(model, tokenizer, data):
    regions, region_mask, ids, token_mask = data
    captions = PairedCaptions(ids, token_mask, torch.arange(len(ids)), tuple(tokenizer.vocabulary.words))
    return model.fit(lambda: [(regions, region_mask)], captions)


@torch.no_grad()
def embed(model, ids, mask):
    return model.encode_texts(ids, mask).pooled


def test_follows_the_protocols(folder):
    model = build(folder)
    assert all(isinstance(model, protocol) for protocol in (Matcher, FittedMatcher, PretrainedMatcher))


def test_fit_centres_sentences_and_scales_them_to_unit_mean_square(folder, tokenizer):
    model, data = build(folder).eval(), pairs(tokenizer)
    fit(model, tokenizer, data)
    with torch.no_grad():
        view = (model.text_tower.sentences(*data[2:]) - model.sentence_mean) * model.sentence_scale
    torch.testing.assert_close(view.mean(0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(view.square().sum(1).mean(), torch.tensor(1.0))


def test_kernel_features_are_centred_and_weigh_twice_as_much(folder, tokenizer):
    model, data = build(folder, sentence_kernel="gaussian").eval(), pairs(tokenizer)
    fit(model, tokenizer, data)
    with torch.no_grad():
        view = (model.kernel(model.text_tower.sentences(*data[2:])) - model.sentence_mean) * model.sentence_scale
    torch.testing.assert_close(view.mean(0), torch.zeros(COMPONENTS), atol=1e-4, rtol=0)
    torch.testing.assert_close(view.square().sum(1).mean(), torch.tensor(2.0))


@pytest.mark.parametrize("kernel", ["linear", "gaussian"])
def test_both_parts_of_the_text_view_are_fitted(folder, tokenizer, kernel):
    """Without the sentence part, or without the bag, the embeddings change."""
    model, data = build(folder, sentence_kernel=kernel).eval(), pairs(tokenizer)
    fit(model, tokenizer, data)
    whole = embed(model, *data[2:])
    for name in ("sentence_projection", "text_projection"):
        weight = getattr(model, name)
        kept = weight.detach().clone()
        nn.init.zeros_(weight)
        assert not torch.allclose(embed(model, *data[2:]), whole, atol=1e-2), name
        weight.data.copy_(kept)


class Constant(nn.Module):
    width = 16

    def sentences(self, token_ids, token_mask):
        return torch.ones(len(token_ids), 16)


def test_without_sentence_vectors_it_is_cca(folder, tokenizer):
    """Constant states have no variance, so that only the bag is left."""

    data = pairs(tokenizer)
    model = build(folder, rank=60).eval()  # the full rank: nothing depends on the random start of the decomposition
    model.text_tower = Constant()
    plain = CCA(vocab_size=len(PIECES), feature_dim=FEATURES, embed_dim=8, codebook_size=8, num_hashes=64, rank=60)
    torch.manual_seed(0)
    chosen = fit(plain, tokenizer, data)
    torch.manual_seed(0)
    assert fit(model, tokenizer, data) == pytest.approx(chosen)
    with torch.no_grad():
        scores = [
            each.eval().similarity(each.encode_images(*data[:2]), each.encode_texts(*data[2:]))
            for each in (model, plain)
        ]
    torch.testing.assert_close(*scores, atol=1e-3, rtol=0)


def test_a_kernel_of_equal_sentence_vectors_adds_nothing(folder, tokenizer):
    model = build(folder, sentence_kernel="gaussian").eval()
    model.text_tower = Constant()
    fit(model, tokenizer, pairs(tokenizer))
    assert model.sentence_scale == 0
    assert model.sentence_projection.isfinite().all()


def test_refused_kernel(folder):
    with pytest.raises(ConfigError, match="sentence_kernel is 'cubic'; it must be one of linear, gaussian"):
        build(folder, sentence_kernel="cubic")


@pytest.mark.parametrize("kernel", ["linear", "gaussian"])
def test_captions_do_not_depend_on_padding(folder, tokenizer, kernel):
    model, data = build(folder, sentence_kernel=kernel).eval(), pairs(tokenizer)
    fit(model, tokenizer, data)
    ids = data[2][:2]
    padded = nn.functional.pad(ids, (0, 3))
    torch.testing.assert_close(embed(model, padded, padded != 0), embed(model, ids, ids != 0))


def test_the_encoder_stays_as_it_was(folder, tokenizer):
    model = build(folder).train()
    model.set_progress(1.0)
    assert not any(parameter.requires_grad for parameter in model.text_tower.parameters())
    before = {name: value.clone() for name, value in model.text_tower.state_dict().items()}
    data = pairs(tokenizer)
    fit(model, tokenizer, data)
    model.encode_texts(*data[2:]).pooled.sum().backward()
    assert all(parameter.grad is None for parameter in model.text_tower.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.text_tower.state_dict().items())


@pytest.mark.parametrize("settings", [{}, {"sentence_kernel": "gaussian", "hub_weight": 0.5}])
def test_a_checkpoint_needs_no_folder(folder, tokenizer, settings):
    model, data = build(folder, **settings).eval(), pairs(tokenizer)
    fit(model, tokenizer, data)
    spec = {
        "embed_dim": 8,
        "codebook_size": 8,
        "num_hashes": 64,
        "rank": 30,
        **settings,
        **model.checkpoint_arguments(),
    }
    loaded = build_matcher(
        {"_target_": "tangka_match.models.PretrainedCCA", **spec},
        vocab_size=len(PIECES),
        feature_dim=FEATURES,
        num_regions=4,
    ).eval()
    loaded.load_state_dict(model.state_dict())
    torch.testing.assert_close(embed(loaded, *data[2:]), embed(model, *data[2:]))
