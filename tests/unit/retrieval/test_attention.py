import numpy as np
import pytest
import torch

from helpers.small_search import make_rescorer, write_split
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.retrieval.attention import OCCLUSION, occlusion_drops, weigh_regions


@pytest.fixture
def split(tmp_path):
    return write_split(tmp_path / "data", images=12, padded=1)


@pytest.mark.parametrize("name", ["vse", "saf"])
def test_models_with_attention_give_their_weights(tmp_path, split, name):
    rescorer = make_rescorer(tmp_path, split, name)
    found = weigh_regions(rescorer, split, 5, split.captions[3])
    assert list(found.words) == rescorer.matcher.tokenizer(split.captions[3])
    assert found.weights.shape == (len(found.words), 4)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found.weights[:, 3], 0, atol=1e-6)  # padding
    assert found.effects is None


def test_a_word_read_as_several_tokens_has_the_mean_of_their_weights(tmp_path, split):
    """自行车 is read as 自@@, <unk>, 车@@."""
    rescorer = make_rescorer(tmp_path, split, "saf")
    matcher = rescorer.matcher
    matcher.vocabulary = Vocabulary([*matcher.vocabulary.words[4:-2], "自@@", "车@@"])
    word = matcher.tokenizer(split.captions[0])[0]
    found = weigh_regions(rescorer, split, 5, f"{word}，自行车")
    assert list(found.words) == [word, "自行车"]
    image, text = rescorer.index.encoded[5:6], matcher.encode_texts([f"{word}，自行车"])
    with torch.no_grad():
        tokens = matcher.matcher.word_attention(image, text).weights[0, 0, 1:5]
    np.testing.assert_allclose(found.weights[0], tokens[0], atol=1e-6)
    np.testing.assert_allclose(found.weights[1], tokens[1:4].mean(dim=0), atol=1e-6)


def test_other_models_give_the_decrease_of_the_score(tmp_path, split):
    rescorer = make_rescorer(tmp_path, split, "dual")
    matcher = rescorer.matcher
    word = matcher.tokenizer(split.captions[3])[0]
    found = weigh_regions(rescorer, split, 5, f"{word}，自行车")
    assert found.note.startswith(OCCLUSION)
    features = split.features.read(np.array([5])).astype(np.float32)
    text = matcher.encode_words([[word]], "test")
    whole = matcher.similarity(features, text)[0, 0]
    expected = []
    for region in range(3):
        without = features.copy()
        without[0, region] = 0  # like padding
        expected.append(max(0.0, float(whole - matcher.similarity(without, text)[0, 0])))
    assert found.effects[0] == pytest.approx(max(expected), abs=1e-5)
    np.testing.assert_allclose(found.weights[0, :3], np.array(expected) / sum(expected), atol=1e-4)
    assert not found.weights[1].any()  # unknown to the model
    assert found.effects[1] == 0


def test_drops_of_several_texts_equal_those_of_each(tmp_path, split):
    matcher = make_rescorer(tmp_path, split, "dual").matcher
    texts = matcher.encode_texts(split.captions[:4])
    together = occlusion_drops(matcher, split, 2, texts)
    alone = torch.cat([occlusion_drops(matcher, split, 2, texts[place : place + 1]) for place in range(4)])
    torch.testing.assert_close(together, alone)
    assert not together[:, 3].any()
