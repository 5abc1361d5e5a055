import re

import numpy as np
import pytest

from tangka_match.data.tokenizer import JiebaTokenizer
from tangka_match.demo import DEFAULT_COMPLETENESS, DEFAULT_DUPLICATE_SHARE, make_captions, make_scenes
from tangka_match.demo.caption_writer import PROMINENCE, mention_probability
from tangka_match.demo.lexicon import CONCEPTS
from tangka_match.demo.write import vocabulary_size


@pytest.fixture(scope="module")
def tokenizer():
    return JiebaTokenizer()


@pytest.mark.parametrize("completeness", [0.05, 0.3, 1.0])
def test_captions_have_8_to_40_words(scenes, tokenizer, completeness):
    lengths = [len(tokenizer(caption.text)) for caption in make_captions(scenes, 0, completeness)]
    assert min(lengths) >= 8
    assert max(lengths) <= 40


def test_captions_only_mention_elements_of_the_scene(scenes, captions):
    for scene, caption in zip(scenes, captions, strict=True):
        assert set(caption.mentioned) <= set(scene.elements)


def test_every_mentioned_concept_is_in_the_text(captions):
    for caption in captions:
        for element in caption.mentioned:
            assert any(term in caption.text for term in CONCEPTS[element.concept].terms), (element.fact, caption.text)


def test_figure_or_family_is_mentioned_once(captions):
    subjects = [sum(element.slot in ("figure", "family") for element in caption.mentioned) for caption in captions]
    assert set(subjects) == {1}


def test_captions_are_well_formed_chinese_sentences(captions):
    for caption in captions:
        assert re.fullmatch(r"[\u4e00-\u9fff，、；]+。", caption.text), caption.text
        assert not re.search(r"[，、；]{2}|[，、；]。|的的", caption.text), caption.text


def test_synonyms_are_used():
    scenes = make_scenes(0, "train", 400, 0.0)
    captions = make_captions(scenes, 0, 0.3)
    names = CONCEPTS[0].terms
    used = [name for name in names if any(name in caption.text for caption in captions)]
    assert len(used) >= 3


def test_vocabulary_size_is_realistic():
    captions = make_captions(make_scenes(0, "train", 2910, DEFAULT_DUPLICATE_SHARE), 0, DEFAULT_COMPLETENESS)
    assert abs(vocabulary_size(captions) / 1562 - 1) < 0.15


@pytest.mark.parametrize("completeness", [0.1, 0.2, 0.3])
def test_completeness_is_the_share_of_mentioned_concepts(scenes, completeness):
    captions = make_captions(scenes, 0, completeness)
    shares = [len(c.mentioned) / (len(s.elements) - 1) for s, c in zip(scenes, captions, strict=True)]
    assert abs(np.mean(shares) - completeness) < 0.05


def test_mention_probability_averages_to_completeness(scenes):
    probabilities = mention_probability(scenes[0], 0.3)
    assert sum(probabilities.values()) / len(probabilities) == pytest.approx(0.3)
    assert max(mention_probability(scenes[0], 1.0).values()) < 1


def test_every_role_has_a_prominence(scenes):
    roles = {element.role for scene in scenes for element in scene.elements} - {"family"}
    assert roles == set(PROMINENCE)


def test_captions_do_not_depend_on_the_number_of_scenes(scenes, captions):
    assert make_captions(scenes[:3], 0, DEFAULT_COMPLETENESS) == captions[:3]
