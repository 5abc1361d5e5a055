import pytest
import torch

from tangka_match.analysis.diagnosis.model.attention import OCCLUSION, entropy_regions, measure_attention
from tangka_match.analysis.diagnosis.model.scored import score_split


def test_entropy_regions_worked_example():
    """Weights 1/2, 1/4, 1/4 cover 2 ** 1.5 regions."""
    assert entropy_regions(torch.tensor([0.5, 0.25, 0.25])).item() == pytest.approx(2**1.5)
    assert entropy_regions(torch.full((36,), 1 / 36)).item() == pytest.approx(36)


def test_attention_of_the_words_of_a_caption(small_matchers, small_set):
    matcher = small_matchers["vse"]
    scored = score_split(matcher, small_set, None)
    attention = measure_attention(matcher, scored)
    assert 1 <= attention.regions <= 4
    assert attention.examples
    model = matcher.matcher
    for example in attention.examples:
        words = scored.words[example.caption]
        with torch.inference_mode():
            weights = model.word_attention(
                scored.images[example.image :][:1], scored.texts[example.caption :][:1]
            ).weights
        shown = [word.text for word in example.words]
        assert shown == [word for word in words if word in shown], "in the caption's order"
        for one in example.words:
            # Token 0 is <start>: word n stands at n + 1.
            expected = weights[0, 0, words.index(one.text) + 1]
            assert one.weights == pytest.approx(tuple(expected.tolist()))


def test_model_without_attention_uses_occlusion(small_matchers, small_set):
    matcher = small_matchers["dual_path"]
    scored = score_split(matcher, small_set, None)
    attention = measure_attention(matcher, scored)
    assert attention.note == OCCLUSION
    assert attention.regions is None
    example = attention.examples[0]
    (one,) = example.words
    falls = []
    for region in range(4):
        left = [r for r in range(4) if r != region]
        features = small_set.features.read([example.image])
        without = matcher.similarity(features[:, left], [small_set.captions[example.caption]])[0, 0]
        falls.append(max(0.0, float(scored.similarity[example.image, example.caption] - without)))
    assert one.weights == pytest.approx([fall / sum(falls) for fall in falls], abs=1e-3)
