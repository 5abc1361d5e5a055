import numpy as np
import pytest

from helpers.planted import planted_split
from tangka_match.data import near_images as module
from tangka_match.data.feature_scan import scan_features
from tangka_match.data.near_images import group_pairs, near_images
from tangka_match.data.split import load_split
from tangka_match.demo import make_scenes, write_demo_set


def within(split):
    scan = scan_features(split)
    return [(pair.query, pair.gallery) for pair in near_images(split, scan, split, scan)]


def copy(*pairs, noise=0.0):
    """Return a change that makes the second image of each pair a copy of the first, with permuted regions."""

    def change(features):
        rng = np.random.default_rng(1)
        for source, target in pairs:
            features[target] = features[source][::-1] + noise * rng.normal(size=features[source].shape)

    return change


@pytest.mark.parametrize("images", [6, 20, 60, 200])
def test_independent_images_are_not_near_duplicates(tmp_path, images):
    assert within(planted_split(tmp_path, "val", images=images)) == []


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.3])
def test_copies_are_found_with_permuted_regions(tmp_path, noise):
    assert within(planted_split(tmp_path, "val", change=copy((3, 40), (5, 6), noise=noise))) == [(3, 40), (5, 6)]


def test_exact_copy_is_found_in_a_small_set(tmp_path):
    assert within(planted_split(tmp_path, "val", images=5, change=copy((0, 4)))) == [(0, 4)]


def test_large_group_is_connected(tmp_path):
    group = [(3, other) for other in range(20, 45)]
    pairs = within(planted_split(tmp_path, "val", images=150, change=copy(*group, noise=0.2)))
    found = group_pairs([module.NearPair(*pair, 0.0) for pair in pairs], 150)
    assert sorted(np.flatnonzero(found == found[3])) == [3, *range(20, 45)]
    assert len(set(found)) == 150 - 25


def attributes(images, copies=0):
    """Return a change that makes each image the sum of six attribute vectors (of eight each) with noise.

    Images share attributes, so the nearest are much closer than the usual ones. The last ``copies`` images show the
    same as the first.
    """

    def change(features):
        rng = np.random.default_rng(2)
        chosen = rng.integers(8, size=(images, 6))
        chosen[images - copies :] = chosen[:copies]
        vectors = rng.normal(size=(6, 8, features.shape[2]))
        shown = sum(vectors[slot][chosen[:, slot]] for slot in range(6))
        features[:] = shown[:, None] + 1.5 * rng.normal(size=features.shape)

    return change


@pytest.mark.parametrize("images", [60, 200])
def test_images_with_common_parts_are_not_near_duplicates(tmp_path, images):
    split = planted_split(tmp_path, "val", images=images, change=attributes(images))
    # A few of 200 images agree in five of the six attributes.
    assert len(within(split)) <= images // 100


def test_copies_are_found_among_images_with_common_parts(tmp_path):
    pairs = within(planted_split(tmp_path, "val", change=attributes(60, copies=4)))
    assert pairs == [(0, 56), (1, 57), (2, 58), (3, 59)]


def test_limit_is_below_the_nearest_other_images(tmp_path):
    split = planted_split(tmp_path, "val", change=attributes(60, copies=4))
    scan = scan_features(split)
    found = module.search_near_images(split, scan, split, scan)
    assert max(pair.distance for pair in found.pairs) < found.limit < 0.5


def test_damaged_and_empty_images_are_ignored(tmp_path):
    def change(features):
        features[1] = features[2] = 0
        features[3] = features[4] = np.nan

    assert within(planted_split(tmp_path, "val", change=change)) == []


def test_split_without_valid_images(tmp_path):
    assert within(planted_split(tmp_path, "val", images=3, change=lambda features: features.fill(0))) == []


def test_result_does_not_depend_on_scale(tmp_path):
    def change(features):
        copy((3, 40))(features)
        features[40] *= 7

    assert within(planted_split(tmp_path, "val", change=change)) == [(3, 40)]


def test_uniform_image_is_not_a_copy_of_an_image_containing_it(tmp_path):
    def change(features):
        features[4] = features[9, 2]

    assert within(planted_split(tmp_path, "val", change=change)) == []


def judge(candidates, rivals):
    return module._judge(np.array([candidates]), np.array([rivals]))[0].tolist()


def test_near_duplicate_criteria():
    rivals = [0.48, 0.5, 0.5, 0.52]
    assert judge([0.2, 0.25, 0.47], rivals) == [[True, True, False]], "close, and a gap behind"
    assert judge([0.4, 0.47, 0.48], rivals) == [[False] * 3], "not much closer than pictures that merely resemble it"
    assert judge([0.2, 0.23, 0.27, 0.31, 0.36, 0.42], rivals) == [[False] * 6], "a crowd, without a gap"
    assert judge([0.2, 0.47, 0.48], [0.3, 0.4, 0.6, 0.7]) == [[False] * 3], "rivals differ as much among themselves"
    assert judge([0.005, 0.2], []) == [[True, False]], "nothing to compare with"


def test_near_duplicate_in_another_split(tmp_path):
    train = planted_split(tmp_path, "train", images=80)
    leak = train.features.read(np.array([70]))[0]

    def change(features):
        features[8] = leak

    val = planted_split(tmp_path, "val", change=change)
    pairs = near_images(val, scan_features(val), train, scan_features(train))
    assert [(pair.query, pair.gallery) for pair in pairs] == [(8, 70)]
    assert pairs[0].distance < 1e-5


def test_large_split_is_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_QUERIES", 10)
    split = planted_split(tmp_path, "val", change=copy((0, 59), (4, 5)))
    assert within(split) == [(0, 59)], "0 and 59 are in an even sample of ten, 4 and 5 are not"


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_demo_near_duplicates_are_found_exactly(tmp_path, share):
    write_demo_set(tmp_path / "demo", train=1, val=120, test=1, duplicate_share=share, thumbnails=False)
    split = load_split(tmp_path / "demo", "val")
    scan = scan_features(split)
    found = group_pairs(near_images(split, scan, split, scan), 120)
    truth = np.array([scene.group for scene in make_scenes(0, "val", 120, share)])
    assert ((found[:, None] == found) == (truth[:, None] == truth)).all()
    assert len(set(truth)) == 120 if share == 0 else len(set(truth)) < 95


def test_shortlist_does_not_depend_on_the_blocks(tmp_path, monkeypatch):
    """Mean features are compared block by block, with the best of each query kept."""
    split = planted_split(tmp_path, "val", images=90)
    scan = scan_features(split)
    asked = np.arange(90)
    whole = module._nearest(scan, asked, scan, within=True)
    centred = scan.means - scan.means.mean(axis=0)
    cosines = centred @ centred.T / np.linalg.norm(centred, axis=1)[:, None] / np.linalg.norm(centred, axis=1)
    np.fill_diagonal(cosines, -np.inf)
    np.testing.assert_array_equal(whole, np.argsort(-cosines, axis=1)[:, : whole.shape[1]])
    monkeypatch.setattr(module, "_BLOCK", 7)
    monkeypatch.setattr(module, "_CHUNK", 11)
    np.testing.assert_array_equal(module._nearest(scan, asked, scan, within=True), whole)
