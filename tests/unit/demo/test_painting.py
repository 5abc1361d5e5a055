import numpy as np
import pytest
from PIL import Image

from tangka_match.demo.grammar import Element, Scene, stream
from tangka_match.demo.lexicon import CONCEPTS, KINDS, NUMBER
from tangka_match.demo.painting import THUMBNAIL_SIZE, paint
from tangka_match.demo.placement import place


def painted(scene):
    places = place(scene, stream(0, scene.split, scene.index, "layout"))
    return paint(scene, places, stream(0, scene.split, scene.index, "painting"))


def with_concept(scene, slot, name):
    elements = [Element(slot, NUMBER[name]) if e.slot == slot else e for e in scene.elements]
    return Scene(scene.split, scene.index, tuple(elements), scene.group)


def part(picture, left, top, right, bottom):
    width, height = THUMBNAIL_SIZE
    box = (int(left * width), int(top * height), int(right * width), int(bottom * height))
    return np.asarray(picture.crop(box), dtype=float)


def test_thumbnail_size_and_mode(scenes):
    picture = painted(scenes[0])
    assert isinstance(picture, Image.Image)
    assert (picture.mode, picture.size) == ("RGB", THUMBNAIL_SIZE)
    assert len(picture.getcolors(1 << 20)) > 500


VISIBLE_SLOTS = (
    "body_colour", "posture", "faces", "arms", "temper", "right_hand", "seat", "crown", "garment", "aureole", "border",
    "halo", "offering", "technique",
)  # fmt: skip


@pytest.mark.parametrize("slot", VISIBLE_SLOTS)
def test_attributes_change_the_thumbnail(scenes, slot):
    kind = "hand" if slot == "right_hand" else slot
    first, last = (
        painted(with_concept(scenes[1], slot, KINDS[kind][n].name)) for n in (0, 6 if slot == "temper" else 2)
    )
    assert not np.array_equal(np.asarray(first), np.asarray(last))


def test_every_concept_can_be_painted(scenes):
    # A thumbnail shows one concept per kind, so that the largest kind gives the number of thumbnails.
    most = max(map(len, KINDS.values()))
    pictures = set()
    for number in range(most):
        elements = []
        for element in scenes[2].elements:
            concepts = KINDS[CONCEPTS[element.concept].kind]
            elements.append(Element(element.slot, NUMBER[concepts[number % len(concepts)].name]))
        pictures.add(painted(Scene("val", 0, tuple(elements), 0)).tobytes())
    assert len(pictures) == most


def test_body_colour(scenes):
    blue, red = (painted(with_concept(scenes[0], "body_colour", f"body_colour:{key}")) for key in ("blue", "red"))
    middle = (0.3, 0.35, 0.7, 0.6)
    difference = part(blue, *middle).mean(axis=(0, 1)) - part(red, *middle).mean(axis=(0, 1))
    assert difference[2] > 15 > -15 > difference[0]


def test_border_is_only_drawn_at_the_edge(scenes):
    gold, dark = (
        painted(with_concept(scenes[0], "border", f"border:{key}")) for key in ("gold_brocade", "lotus_border")
    )
    inside = (0.1, 0.1, 0.9, 0.9)
    assert np.array_equal(part(gold, *inside), part(dark, *inside))
    assert not np.array_equal(part(gold, 0, 0, 1, 0.03), part(dark, 0, 0, 1, 0.03))


def test_boxes_have_the_expected_layout(scenes):
    for scene in scenes[:50]:
        boxes = dict(zip([e.slot for e in scene.elements], place(scene, np.random.default_rng(0)), strict=True))
        middle = {slot: ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for slot, b in boxes.items()}
        assert boxes["figure"][0] < middle["figure"][0] < boxes["figure"][2]
        assert middle["sky"][1] < middle["figure"][1] < middle["seat"][1] < middle["offering"][1]
        assert middle["right_hand"][0] < middle["figure"][0], "the right hand is on the left of the picture"
