from collections import Counter

import pytest

from tangka_match.demo.grammar import make_scenes
from tangka_match.demo.lexicon import CONCEPTS, KINDS


def facts(scene):
    return {element.fact for element in scene.elements}


def test_sizes_do_not_change_earlier_scenes():
    assert make_scenes(3, "test", 12, 0.3) == make_scenes(3, "test", 40, 0.3)[:12]


@pytest.mark.parametrize(("first", "second"), [((0, "val"), (1, "val")), ((0, "val"), (0, "test"))])
def test_seed_and_split_change_the_scenes(first, second):
    assert make_scenes(*first, 3, 0.0)[0].elements != make_scenes(*second, 3, 0.0)[0].elements


def test_scenes_have_all_required_elements(scenes):
    wanted = {
        "figure",
        "family",
        "body_colour",
        "posture",
        "right_hand",
        "seat",
        "halo",
        "offering",
        "landscape",
        "sky",
    }
    for scene in scenes:
        assert wanted <= {element.slot for element in scene.elements}
        assert len(facts(scene)) == len(scene.elements), "no fact occurs twice"


def test_all_figures_occur_and_known_ones_more_often():
    drawn = Counter(CONCEPTS[scene.concept("figure")].key for scene in make_scenes(0, "train", 1000, 0.0))
    keys = [concept.key for concept in KINDS["figure"]]
    assert set(drawn) == set(keys)
    assert sum(drawn[key] for key in keys[:10]) > 2 * sum(drawn[key] for key in keys[-10:])


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_share_of_near_copies(share):
    scenes = make_scenes(0, "train", 1000, share)
    copies = sum(scene.group != scene.index for scene in scenes)
    assert abs(copies / 1000 - share) < 0.04


def test_near_copies_differ_in_at_most_one_fact():
    scenes = make_scenes(0, "train", 300, 0.4)
    changed = Counter(len(facts(scene) - facts(scenes[scene.group])) for scene in scenes if scene.group != scene.index)
    assert set(changed) == {0, 1}
    assert all(scene.elements[:2] == scenes[scene.group].elements[:2] for scene in scenes), "the figure is not changed"
    assert min(changed.values()) > 0.3 * sum(changed.values())


def test_copied_scenes_are_not_copies_themselves():
    scenes = make_scenes(0, "val", 300, 0.5)
    assert all(scenes[scene.group].group == scene.group for scene in scenes)
