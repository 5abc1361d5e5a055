import numpy as np
import pytest

from tangka_match.demo import make_scenes
from tangka_match.demo.feature_writer import _SINGLE_SLOTS, _VIEWS, FEATURE_DIM, NUM_REGIONS, FeatureWriter
from tangka_match.demo.grammar import _SURROUNDINGS, Scene


@pytest.fixture(scope="module")
def generated(scenes):
    return FeatureWriter(0, 0.3)(scenes[:16])


def test_shapes_and_types(generated):
    features, boxes = generated
    assert (features.shape, features.dtype) == ((16, NUM_REGIONS, FEATURE_DIM), np.float16)
    assert (boxes.shape, boxes.dtype) == ((16, NUM_REGIONS, 4), np.float32)


def test_features_are_finite_non_negative_and_half_zero(generated):
    features = generated[0].astype(np.float32)
    assert np.isfinite(features).all()
    assert features.min() == 0
    assert 0.3 < (features == 0).mean() < 0.9


def test_no_region_is_empty(generated):
    assert np.linalg.norm(generated[0].astype(np.float32), axis=-1).min() > 1


def test_boxes_are_valid(generated):
    boxes = generated[1]
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert (boxes[..., 2] > boxes[..., 0]).all()
    assert (boxes[..., 3] > boxes[..., 1]).all()


def test_largest_scene_has_fewer_elements_than_regions():
    most = sum(most for _, _, most in _SURROUNDINGS.values())
    figure_alone = [slot for slot in _SINGLE_SLOTS if slot not in _SURROUNDINGS]
    assert len(_VIEWS) + len(figure_alone) + most < NUM_REGIONS


def test_features_do_not_depend_on_the_other_scenes(scenes, generated):
    features, boxes = FeatureWriter(0, 0.3)(scenes[5:6])
    assert np.array_equal(features[0], generated[0][5])
    assert np.array_equal(boxes[0], generated[1][5])


def test_another_seed_has_other_codes(scenes, generated):
    assert not np.array_equal(FeatureWriter(1, 0.3)(scenes[:1])[0][0], generated[0][0])


def test_copies_of_a_scene_have_different_features(scenes):
    twin = Scene("val", 99, scenes[0].elements, 0)
    features, _ = FeatureWriter(0, 0.3)([scenes[0], twin])
    assert not np.array_equal(features[0], features[1])


def test_noise_lowers_the_similarity_of_copies():
    scene = make_scenes(0, "val", 1, 0.0)[0]
    twin = Scene("val", 99, scene.elements, 0)
    correlations = []
    for noise in (0.0, 0.5, 2.0):
        means = FeatureWriter(0, noise)([scene, twin])[0].astype(np.float32).mean(axis=1)
        correlations.append(np.corrcoef(means)[0, 1])
    assert correlations[0] > correlations[1] > correlations[2]
