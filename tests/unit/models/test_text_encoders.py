import math

import pytest
import torch

from tangka_match.models.text_encoders import SequenceTransformer, WordBag


def encoder(*, positions):
    torch.manual_seed(0)
    return SequenceTransformer(5, 8, num_heads=2, num_layers=2, dropout=0.0, positions=positions).eval()


@pytest.mark.parametrize("positions", [False, True])
def test_transformer_depends_on_order_only_with_positions(positions):
    x, mask = torch.randn(1, 6, 5), torch.ones(1, 6, dtype=torch.bool)
    turned = encoder(positions=positions)(x.flip(1), mask).flip(1)
    close = torch.allclose(turned, encoder(positions=positions)(x, mask), atol=1e-5)
    assert close is not positions


def test_masked_positions_become_zero():
    mask = torch.tensor([[True, True, False], [False, False, False]])
    states = encoder(positions=False)(torch.randn(2, 3, 5), mask)
    assert states[mask].abs().min() > 0
    assert not states[~mask].any()


WORDS = ("<pad>", "<start>", "<end>", "<unk>", "白度母", "莲花", "白云", "绿")
START, END, UNKNOWN, TARA, LOTUS, CLOUD, GREEN = 1, 2, 3, 4, 5, 6, 7
IDS = torch.tensor(
    [[START, TARA, LOTUS, END], [START, TARA, LOTUS, END], [START, CLOUD, END, 0], [START, LOTUS, END, 0]]
)
MASK = torch.tensor([[True] * 4, [True] * 4, [True] * 3 + [False], [True] * 3 + [False]])
SIZE = len(WORDS) + 4096


def dense(bag, ids, mask):
    features, weights = bag(ids, mask)
    return torch.zeros(len(ids), SIZE).scatter_add(1, features, weights)


@pytest.fixture
def bag():
    bag = WordBag(len(WORDS), 4096)
    bag.fit(IDS, MASK, WORDS)
    return bag


def test_word_weights_are_inverse_document_frequencies(bag):
    assert bag.weight[LOTUS].item() == pytest.approx(math.log(4 / 3))
    assert bag.weight[TARA].item() == pytest.approx(math.log(4 / 2))


@pytest.mark.parametrize("word", [START, END, UNKNOWN, CLOUD, GREEN])
def test_special_tokens_and_rare_words_have_weight_zero(bag, word):
    assert bag.weight[word] == 0


def test_characters_and_bigrams_across_words_are_features(bag):
    caption = dense(bag, IDS, MASK)[0]
    # Two words; 白, 度, 母, 莲, 花; 白度, 度母, 母莲, 莲花. All occur in at least two captions.
    assert caption[: len(WORDS)].count_nonzero() == 2
    assert caption[len(WORDS) :].count_nonzero() == 9
    assert caption.norm().item() == pytest.approx(1)


def test_words_with_a_common_character_share_features(bag):
    """白云 is too rare to have a weight, but shares 白 with 白度母."""
    captions = dense(bag, IDS, MASK)
    assert captions[2] @ captions[0] > 0.1
    assert captions[2] @ captions[3] == 0


def test_fit_returns_the_output_of_forward():
    bag = WordBag(len(WORDS), 4096)
    matrix = bag.fit(IDS, MASK, WORDS)
    torch.testing.assert_close(matrix.to_dense(), dense(bag, IDS, MASK))


def test_caption_without_a_known_word_is_zero(bag):
    ids = torch.tensor([[START, UNKNOWN, UNKNOWN, END]])
    assert not dense(bag, ids, torch.ones(1, 4, dtype=torch.bool)).any()


def test_caption_does_not_depend_on_padding(bag):
    alone = dense(bag, IDS[3:, :3], MASK[3:, :3])
    torch.testing.assert_close(dense(bag, IDS, MASK)[3:], alone)


def test_repeated_words_count_repeatedly(bag):
    found = dense(bag, torch.tensor([[TARA, GREEN, TARA, LOTUS]]), torch.ones(1, 4, dtype=torch.bool))[0]
    assert found[TARA] / found[LOTUS] == pytest.approx(2 * math.log(2) / math.log(4 / 3))
