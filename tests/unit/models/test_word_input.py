import pytest
import torch

from tangka_match.errors import ConfigError
from tangka_match.models.word_input import WordInput
from tangka_match.types import WordVectors

WORDS = ("<pad>", "<start>", "<end>", "<unk>", "白度母", "白云", "莲")


def word_input(*, characters=0, num_characters=50):
    torch.manual_seed(0)
    return WordInput(len(WORDS), word_dim=3, character_dim=characters, num_characters=num_characters, dropout=0.0)


def characters_of(model, word):
    return model(torch.tensor([[word]]))[0, 0, 3:]


def test_character_vectors_are_averaged():
    model = word_input(characters=2)
    model.learn_words(WORDS, None)
    codes = model.characters[5, :2]
    torch.testing.assert_close(characters_of(model, 5), model.character_vectors.weight[codes].mean(dim=0))
    assert model.characters[4, 0] == model.characters[5, 0]  # 白
    assert len(model.characters[4:].unique()) == 1 + 5  # none, and 白 度 母 云 莲
    assert not characters_of(model, 3).any()


def test_rare_characters_share_a_vector():
    model = word_input(characters=2, num_characters=1)
    model.learn_words(WORDS, None)
    assert model.characters[4].tolist() == [2, 1, 1, 0, 0, 0, 0, 0]
    assert model.characters[6].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_state_dict_restores_the_characters():
    model, other = word_input(characters=2), word_input(characters=2)
    model.learn_words(WORDS, WordVectors(torch.randn(7, 3), torch.ones(7, dtype=torch.bool)))
    other.load_state_dict(model.state_dict())
    ids = torch.arange(7)[None]
    assert torch.equal(other(ids), model(ids))


def test_words_without_a_pretrained_vector_are_random():
    known = torch.tensor([False, False, False, False, True, True, False])
    vectors = torch.where(known[:, None], torch.tensor([[100.0, 300.0, 200.0]]), 0.0)
    vectors[5] = -vectors[4]
    model = word_input()
    model.learn_words(WORDS, WordVectors(vectors, known))
    words = model(torch.arange(7)[None])[0]
    assert torch.equal(words[4:6], vectors[4:6])
    assert 30 < words[~known].std().item() < 500  # standard deviation of the known ones


def test_refused_vectors():
    with pytest.raises(ConfigError, match=r"model\.word_dim=3, .* have 5 dimensions; set model\.word_dim=5"):
        word_input().learn_words(WORDS, WordVectors(torch.ones(7, 5), torch.ones(7, dtype=torch.bool)))


def test_characters_keep_their_vectors_when_words_are_added():
    """As after ``init_from``: rows are moved, and other words and characters are added."""
    old = word_input(characters=2)
    old.learn_words(WORDS, None)
    words = (*WORDS[:4], "山水", "山云", "山", "莲", "白度母")
    new = WordInput(len(words), word_dim=3, character_dim=2, num_characters=50, dropout=0.0)
    new.character_vectors.load_state_dict(old.character_vectors.state_dict())
    for row, old_row in ((7, 6), (8, 4)):
        new.characters[row] = old.characters[old_row]
    new.learn_words(words, None)
    for row, old_row in ((7, 6), (8, 4)):
        assert torch.equal(characters_of(new, row), characters_of(old, old_row))
    assert len(new.characters[4:].unique()) == 1 + 7  # none, and 白 度 母 莲 山 水 云: no two share a number
