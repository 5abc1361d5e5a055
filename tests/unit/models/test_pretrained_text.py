import pytest
import torch
from torch import nn

from helpers.tiny_pretrained import PIECES, write_bert
from tangka_match.data.piece_tokenizer import PieceTokenizer
from tangka_match.errors import ConfigError
from tangka_match.models import PretrainedText
from tangka_match.training.parameter_groups import parameter_groups


@pytest.fixture
def folder(tmp_path):
    return str(write_bert(tmp_path / "bert"))


def build(folder, **settings):
    torch.manual_seed(0)
    return PretrainedText(vocab_size=len(PIECES), feature_dim=6, text_model=folder, embed_dim=8, **settings)


def test_our_ids_give_what_the_model_gives_for_its_own(folder):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    their_ids = torch.tensor([[PIECES.index(piece) for piece in ("[CLS]", "绿", "度", "[UNK]", "[SEP]")]])
    tokenizer = PieceTokenizer(folder)
    ours = torch.tensor([tokenizer.vocabulary.encode(tokenizer("绿度馬"))])
    mask = torch.ones_like(ours, dtype=torch.bool)
    expected = theirs(input_ids=their_ids, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(build(folder).eval().text_tower(ours, mask), expected)


def test_a_frozen_encoder_has_no_gradient_until_it_is_thawed(folder):
    model = build(folder, thaw_at=0.5).train()
    ids, mask = torch.randint(4, 20, (2, 5)), torch.ones(2, 5, dtype=torch.bool)
    for progress, learns in ((0.49, False), (0.5, True)):
        model.set_progress(progress)
        model.encode_texts(ids, mask).pooled[:, 0].sum().backward()
        grads = [p.grad for p in model.text_tower.parameters()]
        assert any(grad is not None for grad in grads) is learns
        assert model.text_tower.transformer.encoder.training is learns
    assert model.text_projection.weight.grad is not None


def test_the_encoder_has_groups_of_its_own(folder):
    model = build(folder, text_lr_multiplier=0.2)
    groups = parameter_groups(model, nn.Module(), model.lr_multipliers())
    assert [group["lr_multiplier"] for group in groups] == [1.0, 1.0, 0.2, 0.2]
    slow = sum(p.numel() for group in groups[2:] for p in group["params"])
    assert slow == sum(p.numel() for p in model.text_tower.parameters())
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_another_vocabulary_is_refused_with_both_sizes(folder):
    with pytest.raises(ConfigError, match=rf"{len(PIECES)} word pieces, but .* 7 words: give data/tokenizer=pieces"):
        PretrainedText(vocab_size=7, feature_dim=6, text_model=folder)


def test_a_tokenizer_comes_back_from_its_settings(folder):
    tokenizer = PieceTokenizer(folder)
    again = PieceTokenizer.from_settings(tokenizer.settings())
    assert again.vocabulary == tokenizer.vocabulary
    assert again("红佛AB") == tokenizer("红佛AB") == ["红", "佛", "a", "##b"]
    assert again.max_tokens == 60
