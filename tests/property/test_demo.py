"""Properties of demo sets with any seed and settings."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tangka_match.demo import make_captions, make_scenes, oracle_recalls
from tangka_match.demo.feature_writer import FeatureWriter
from tangka_match.demo.grammar import SPLITS

seeds = st.integers(min_value=0, max_value=2**32 - 1)
splits = st.sampled_from(SPLITS)


@given(seed=seeds, split=splits, share=st.floats(0, 0.9), completeness=st.floats(0.01, 1.0))
@settings(deadline=None, max_examples=15)
def test_captions_have_valid_lengths_and_facts(seed, split, share, completeness):
    scenes = make_scenes(seed, split, 6, share)
    captions = make_captions(scenes, seed, completeness)
    for scene, caption in zip(scenes, captions, strict=True):
        assert 20 <= sum(character not in "，。、；" for character in caption.text) <= 62
        assert set(caption.mentioned) <= set(scene.elements)
    recalls = oracle_recalls(scenes, captions, completeness)
    assert all(0 < recall <= 100 for recall in recalls.values())


@given(seed=seeds, split=splits, small=st.integers(1, 5), large=st.integers(5, 9), share=st.floats(0, 0.9))
@settings(deadline=None, max_examples=15)
def test_size_does_not_change_earlier_scenes(seed, split, small, large, share):
    few, many = make_scenes(seed, split, small, share), make_scenes(seed, split, large, share)
    assert many[:small] == few
    assert make_captions(many, seed, 0.3)[:small] == make_captions(few, seed, 0.3)


@given(seed=seeds, noise=st.floats(0, 3))
@settings(deadline=None, max_examples=5)
def test_features_and_boxes_are_in_range(seed, noise):
    features, boxes = FeatureWriter(seed, noise)(make_scenes(seed, "val", 3, 0.5))
    assert np.isfinite(features).all()
    assert features.min() >= 0
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert (boxes[..., 2:] > boxes[..., :2]).all()
