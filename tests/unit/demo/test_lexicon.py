from collections import Counter

from tangka_match.demo.body import _ARMS, _FACES
from tangka_match.demo.glyphs_nature import NATURE
from tangka_match.demo.glyphs_objects import OBJECTS
from tangka_match.demo.lexicon import CONCEPTS, FIGURES, KINDS, NUMBER
from tangka_match.demo.pen import COLOURS


def test_number_of_figures_and_concepts():
    assert len(FIGURES) >= 40
    assert 250 <= len(CONCEPTS) <= 400


def test_every_attribute_of_a_figure_is_a_concept():
    for figure in FIGURES:
        named = {
            "family": figure.family,
            "body_colour": figure.colour,
            "posture": figure.posture,
            "faces": figure.faces,
            "arms": figure.arms,
            "gesture": figure.gesture,
            "seat": figure.seat,
            "temper": figure.temper,
        }
        names = [f"{kind}:{key}" for kind, key in named.items()] + [f"hand:{key}" for key in figure.hands]
        assert set(names) <= set(NUMBER), figure.key


def test_names_are_unique():
    assert len(NUMBER) == len(CONCEPTS)


def test_each_concept_has_one_to_four_unique_terms():
    terms = Counter(term for concept in CONCEPTS for term in concept.terms)
    assert max(terms.values()) == 1, "a term of two concepts would make the oracle wrong"
    assert all(1 <= len(concept.terms) <= 4 for concept in CONCEPTS)


def test_every_drawn_concept_has_a_glyph_and_a_colour():
    shapes = {*OBJECTS, *NATURE, "monk", "lady", "demon", "crown", "knob", "hat", "flame", "-"}
    assert {concept.shape for concept in CONCEPTS} <= shapes
    assert {concept.colour for concept in CONCEPTS} <= set(COLOURS)
    assert {concept.key for concept in KINDS["body_colour"]} <= set(COLOURS)


def test_all_glyphs_are_used():
    used = {concept.shape for concept in CONCEPTS}
    assert set(OBJECTS) - used == set()
    assert set(NATURE) - used == set()


def test_faces_and_arms_can_be_drawn():
    assert {concept.key for concept in KINDS["faces"]} == set(_FACES)
    assert {concept.key for concept in KINDS["arms"]} == set(_ARMS)
