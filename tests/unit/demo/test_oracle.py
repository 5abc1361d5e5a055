import numpy as np
import pytest

from tangka_match.demo import DEFAULT_COMPLETENESS, make_captions, make_scenes, oracle_recalls
from tangka_match.demo.caption_writer import Caption
from tangka_match.demo.grammar import Element, Scene
from tangka_match.demo.lexicon import NUMBER
from tangka_match.demo.oracle import oracle_similarity


def scene(index, *names):
    """Build a scene from ``slot kind:key`` pairs."""
    elements = tuple(Element(slot, NUMBER[name]) for slot, name in (pair.split() for pair in names))
    return Scene("val", index, elements, index)


TARA = "figure figure:green_tara"
ATISHA = "figure figure:atisha"
CLOUDS = "sky sky:clouds"
RAINBOW = "sky sky:rainbow"


def recall(scenes, mentioned):
    captions = [Caption("", scenes[n].elements[:count]) for n, count in enumerate(mentioned)]
    return oracle_recalls(scenes, captions, 0.3)


def test_captions_that_distinguish_two_scenes():
    assert recall([scene(0, TARA), scene(1, ATISHA)], [1, 1]) == {"i2t_r1": 100.0, "t2i_r1": 100.0, "mean_r1": 100.0}


def test_equal_scenes_count_one_half():
    assert recall([scene(0, TARA), scene(1, TARA)], [1, 1])["mean_r1"] == 50.0


def test_differences_that_no_caption_mentions_do_not_help():
    found = recall([scene(0, TARA, CLOUDS), scene(1, TARA, RAINBOW)], [1, 1])
    assert found == {"i2t_r1": 50.0, "t2i_r1": 50.0, "mean_r1": 50.0}


def test_difference_that_one_caption_mentions():
    # Caption 0 mentions the clouds, caption 1 only Tara: scene 0 prefers caption 0, and only caption 1 fits scene 1.
    # Caption 1 fits both scenes equally, so t2i is (1 + 1/2) / 2.
    found = recall([scene(0, TARA, CLOUDS), scene(1, TARA, RAINBOW)], [2, 1])
    assert found == {"i2t_r1": 100.0, "t2i_r1": 75.0, "mean_r1": 87.5}


def test_rows_are_scenes_and_columns_captions():
    scenes = [scene(0, TARA), scene(1, ATISHA), scene(2, ATISHA, CLOUDS)]
    captions = [Caption("", scenes[0].elements), Caption("", scenes[1].elements), Caption("", scenes[2].elements)]
    scores = oracle_similarity(scenes, captions, 0.3)
    assert scores.shape == (3, 3)
    assert scores[1, 2] < -900 < scores[2, 1], "the clouds contradict scene 1; nothing contradicts scene 2"


def test_scores_computed_by_hand():
    # Each fact is in one of two scenes, so mentioning it counts log 2. Prominence is 2.4 for the figure, 1.1 for the
    # sky, so with completeness 0.3 they are mentioned with probability 0.3 * 2 / 3.5 times that: 0.4114 and 0.1886.
    scenes = [scene(0, TARA, CLOUDS), scene(1, ATISHA, RAINBOW)]
    captions = [Caption("", scenes[0].elements), Caption("", scenes[0].elements[:1])]
    scores = oracle_similarity(scenes, captions, 0.3)
    assert scores[0] == pytest.approx([2 * np.log(2), np.log(2) + np.log(1 - 0.1886)], abs=1e-3)


def test_omitted_facts_lower_the_score():
    scenes = [scene(0, TARA), scene(1, TARA, CLOUDS, "building building:stupa")]
    scores = oracle_similarity(scenes, [Caption("", scenes[0].elements)] * 2, 0.3)
    assert np.all(scores[0] > scores[1])


def test_oracle_reaches_90_percent_with_default_settings(scenes, captions):
    found = oracle_recalls(scenes, captions, DEFAULT_COMPLETENESS)
    assert len(scenes) == 363
    assert 90 <= found["mean_r1"] < 100


def test_completeness_raises_the_oracle():
    scenes = make_scenes(0, "val", 200, 0.1)
    found = [oracle_recalls(scenes, make_captions(scenes, 0, c), c)["mean_r1"] for c in (0.02, 0.1, 0.3)]
    assert found[0] < found[1] < found[2]


def test_near_copies_lower_the_oracle():
    found = []
    for share in (0.0, 0.2, 0.5):
        scenes = make_scenes(0, "val", 200, share)
        found.append(oracle_recalls(scenes, make_captions(scenes, 0, 0.3), 0.3)["mean_r1"])
    assert found[0] > 98
    assert found[0] - found[1] == pytest.approx(20, abs=8)
    assert found[1] > found[2] + 15
