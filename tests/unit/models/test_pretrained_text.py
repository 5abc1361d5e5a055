import pytest
import torch
from torch import nn

from helpers.tiny_pretrained import PIECES, write_bert
from tangka_match.data.tokenizer import PieceTokenizer
from tangka_match.errors import ConfigError
from tangka_match.models import PretrainedText
from tangka_match.training.optimisation import parameter_groups


@pytest.fixture
def folder(tmp_path):
    return str(write_bert(tmp_path / "bert"))


def build(folder, **settings):
    torch.manual_seed(0)
    return PretrainedText(vocab_size=len(PIECES), feature_dim=6, text_model=folder, embed_dim=8, **settings)


def test_ids_are_mapped_to_those_of_the_model(folder):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    their_ids = torch.tensor([[PIECES.index(piece) for piece in ("[CLS]", "绿", "度", "[UNK]", "[SEP]")]])
    tokenizer = PieceTokenizer(folder)
    ours = torch.tensor([tokenizer.vocabulary.encode(tokenizer("绿度馬"))])
    mask = torch.ones_like(ours, dtype=torch.bool)
    expected = theirs(input_ids=their_ids, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(build(folder).eval().text_tower(ours, mask), expected)


class FixedStates(nn.Module):
    """States of two real pieces and one of padding."""

    def forward(self, token_ids, token_mask):
        states = torch.zeros(1, 3, 16)
        states[0, :, :2] = torch.tensor([[6.0, 0.0], [0.0, 8.0], [99.0, -99.0]])
        return states


def test_captions_are_mean_pooled(folder):
    """The mean is (3, 4), plus the bias (4, 3), of norm 5."""
    model = build(folder).eval()
    model.text_tower = FixedStates()
    nn.init.eye_(model.text_projection.weight)
    model.text_projection.bias.data[:2] = torch.tensor([1.0, -1.0])
    found = model.encode_texts(torch.zeros(1, 3, dtype=torch.int64), torch.tensor([[True, True, False]])).pooled
    torch.testing.assert_close(found, torch.tensor([[0.8, 0.6, 0, 0, 0, 0, 0, 0]]))


def test_images_are_max_pooled(folder):
    """The maximum of (3, 1) and (2, 4) is (3, 4)."""
    model = build(folder).eval()
    nn.init.eye_(model.region_projection.weight)
    regions = torch.zeros(1, 3, 6)
    regions[0, :, :2] = torch.tensor([[3.0, 1.0], [99.0, 99.0], [2.0, 4.0]])
    found = model.encode_images(regions, torch.tensor([[True, False, True]])).pooled
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8, 0, 0, 0, 0, 0, 0]]))


def test_captions_do_not_depend_on_padding(folder):
    model = build(folder).eval()
    ids, mask = torch.randint(4, 20, (2, 7)), torch.arange(7) < torch.tensor([[4], [7]])
    found, other = (model.encode_texts(each, mask).pooled for each in (ids, torch.where(mask, ids, 9)))
    alone = torch.cat([model.encode_texts(ids[c : c + 1, :n], mask[c : c + 1, :n]).pooled for c, n in ((0, 4), (1, 7))])
    torch.testing.assert_close(found, alone)
    torch.testing.assert_close(other, alone)


@pytest.mark.parametrize(("thaw_at", "learns"), [(0, [True] * 4), (0.5, [False, False, True, True]), (1, [False] * 4)])
def test_optimizer_steps_change_the_encoder_only_after_thawing(folder, thaw_at, learns):
    """Including weight decay and momentum; the projection is trained from the start."""
    model = build(folder, thaw_at=thaw_at).train()
    groups = parameter_groups(model, nn.Module(), model.lr_multipliers())
    optimizer = torch.optim.AdamW([{"params": group["params"]} for group in groups], lr=0.01, weight_decay=0.1)
    ids, mask = torch.randint(4, 20, (2, 5)), torch.ones(2, 5, dtype=torch.bool)
    watched = (model.text_tower.transformer.encoder.layer[0].output.dense.weight, model.text_projection.weight)
    for progress, encoder_learns in zip((0.0, 0.49, 0.5, 1.0), learns, strict=True):
        before = [weight.detach().clone() for weight in watched]
        model.set_progress(progress)
        optimizer.zero_grad()
        model.encode_texts(ids, mask).pooled[:, 0].sum().backward()
        optimizer.step()
        moved = [not torch.equal(weight, old) for weight, old in zip(watched, before, strict=True)]
        assert moved == [encoder_learns, True], progress


@pytest.mark.parametrize(("thaw_at", "learns"), [(0, True), (0.5, False)])
def test_encoder_has_a_gradient_at_the_start_only_if_thaw_at_is_zero(folder, thaw_at, learns):
    model = build(folder, thaw_at=thaw_at)
    model.encode_texts(torch.tensor([[4, 5]]), torch.tensor([[True, True]])).pooled[:, 0].sum().backward()
    assert any(p.grad is not None for p in model.text_tower.parameters()) is learns


def test_frozen_encoder_gets_no_gradient(folder):
    model = build(folder, thaw_at=0.5).train()
    ids, mask = torch.randint(4, 20, (2, 5)), torch.ones(2, 5, dtype=torch.bool)
    for progress, learns in ((0.49, False), (0.5, True)):
        model.set_progress(progress)
        model.encode_texts(ids, mask).pooled[:, 0].sum().backward()
        grads = [p.grad for p in model.text_tower.parameters()]
        assert any(grad is not None for grad in grads) is learns
        assert model.text_tower.transformer.encoder.training is learns
    assert model.text_projection.weight.grad is not None


def test_encoder_has_parameter_groups_of_its_own(folder):
    model = build(folder, text_lr_multiplier=0.2)
    groups = parameter_groups(model, nn.Module(), model.lr_multipliers())
    assert [group["lr_multiplier"] for group in groups] == [1.0, 1.0, 0.2, 0.2]
    slow = sum(p.numel() for group in groups[2:] for p in group["params"])
    assert slow == sum(p.numel() for p in model.text_tower.parameters())
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_refused_vocabulary(folder):
    with pytest.raises(ConfigError, match=rf"{len(PIECES)} word pieces, but .* 7 words: give data/tokenizer=pieces"):
        PretrainedText(vocab_size=7, feature_dim=6, text_model=folder)


def test_tokenizer_is_restored_from_its_settings(folder):
    tokenizer = PieceTokenizer(folder)
    again = PieceTokenizer.from_settings(tokenizer.settings())
    assert again.vocabulary == tokenizer.vocabulary
    assert again("红佛AB") == tokenizer("红佛AB") == ["红", "佛", "a", "##b"]
    assert again.max_tokens == 60


def test_gpo_pools_both_sides_and_ignores_padding(folder):
    """A padded batch encodes as its parts do; the published scores are compared in tests/parity."""
    model = build(folder, pooling="gpo").eval()
    ids, mask = torch.tensor([[1, 5, 6, 2], [1, 7, 2, 0]]), torch.tensor([[True] * 4, [True] * 3 + [False]])
    alone = model.encode_texts(ids[1:, :3], mask[1:, :3]).pooled
    torch.testing.assert_close(model.encode_texts(ids, mask).pooled[1:], alone)
    regions, real = torch.rand(2, 3, 6), torch.tensor([[True, True, True], [True, False, True]])
    alone = model.encode_images(regions[1:, ::2], real[1:, ::2]).pooled
    torch.testing.assert_close(model.encode_images(regions, real).pooled[1:], alone)


def test_unknown_pooling_is_refused(folder):
    with pytest.raises(ConfigError, match=r"pooling is 'sum'"):
        build(folder, pooling="sum")
