import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.precomp import write_dataset, write_precomp
from tangka_match.data.features import RegionFeatures
from tangka_match.data.mix import (
    DuplicateFinder,
    ExtraSet,
    interleave_sets,
    max_pairs_per_batch,
    open_extra_sets,
    parse_mix,
    plan_epoch,
)
from tangka_match.data.split import load_split
from tangka_match.errors import ConfigError, DataFormatError


def opened(path, array):
    np.save(path, array)
    return RegionFeatures.open(path)


def images(count, seed, dtype=np.float16):
    return np.random.default_rng(seed).normal(size=(count, 3, 5)).astype(dtype)


def test_duplicates_are_found_at_any_position(tmp_path):
    first, second, other = images(300, 1), images(4, 2), images(5, 3)
    other[1], other[4] = first[299], second[0]
    finder = DuplicateFinder()
    finder.add(opened(tmp_path / "first.npy", first))
    finder.add(opened(tmp_path / "second.npy", second))
    assert finder.find(opened(tmp_path / "other.npy", other)).tolist() == [False, True, False, False, True]


def test_images_with_equal_first_regions_only_are_not_duplicates(tmp_path):
    """For example if the first region is a constant: the other regions are compared."""
    first, other = images(6, 1), images(6, 2)
    first[:, 0] = other[:, 0] = 1.0
    other[3] = first[2]
    finder = DuplicateFinder()
    finder.add(opened(tmp_path / "first.npy", first))
    assert np.flatnonzero(finder.find(opened(tmp_path / "other.npy", other))).tolist() == [3]


def test_float32_copies_are_duplicates(tmp_path):
    first = images(3, 1)
    finder = DuplicateFinder()
    finder.add(opened(tmp_path / "first.npy", first))
    assert finder.find(opened(tmp_path / "wide.npy", first[[2, 0]].astype(np.float32))).all()
    assert not finder.find(opened(tmp_path / "large.npy", np.full((1, 3, 5), 1e9, np.float32))).any()


def test_images_of_another_shape_are_not_duplicates(tmp_path):
    first = images(3, 1)
    finder = DuplicateFinder()
    finder.add(opened(tmp_path / "first.npy", first))
    assert not finder.find(opened(tmp_path / "fewer.npy", first[:, :2])).any()


def test_row_maps_are_respected(tmp_path):
    first = images(4, 1)
    finder = DuplicateFinder()
    finder.add(
        opened(tmp_path / "first.npy", np.repeat(first, 2, axis=0)).with_row_map(np.array([0, 4]))
    )  # images 0 and 2
    assert finder.find(opened(tmp_path / "other.npy", first)).tolist() == [True, False, True, False]
    assert finder.find(opened(tmp_path / "back.npy", first).with_row_map(np.array([3, 2]))).tolist() == [False, True]


def test_no_duplicates_before_anything_is_added(tmp_path):
    assert not DuplicateFinder().find(opened(tmp_path / "a.npy", images(2, 1))).any()


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        (
            [{"root": "a"}],
            r"data\.mix\[0\]=\{'root': 'a'\} must be \{root: <folder>, share: <share of each batch>\}",
        ),
        ([{"root": "a", "share": 0.2}, {"path": "a", "share": 0.5}], r"data\.mix\[1\]=\{'path': 'a', 'share': 0\.5\}"),
        ([{"root": "a", "share": "half"}], r"data\.mix\[0\]=\{'root': 'a', 'share': 'half'\}"),
        ([{"root": 3, "share": 0.5}], r"data\.mix\[0\]=\{'root': 3, 'share': 0\.5\}"),
        ([{"root": "a", "share": True}], r"data\.mix\[0\]=\{'root': 'a', 'share': True\}"),
        ([{"root": "a", "share": 0}], r"data\.mix\[0\]\.share=0 must be in \(0, 1\)"),
        ([{"root": "a", "share": 1.0}], r"data\.mix\[0\]\.share=1\.0 must be in"),
        ([{"root": "a", "share": float("nan")}], r"data\.mix\[0\]\.share=nan must be in"),
        (
            [{"root": "a", "share": 0.6}, {"root": "b", "share": 0.4}],
            r"shares \[0\.6, 0\.4\] add up to 1; their sum must be < 1",
        ),
    ],
)
def test_invalid_mix(mix, message):
    with pytest.raises(ConfigError, match=message):
        parse_mix(mix)


@pytest.fixture
def main(tmp_path):
    root = write_dataset(tmp_path / "main", train=6, val=4)
    write_precomp(root, "test", images=3, seed=8)
    return root


def opened_mix(root, *sets):
    main, val = load_split(root, "train"), load_split(root, "val")
    return open_extra_sets(sets, str(root), main, val)


def test_set_without_duplicates_is_used_completely(tmp_path, main):
    write_precomp(tmp_path / "b", images=5, captions_per_image=2, seed=4)
    (extra,) = opened_mix(main, ExtraSet(str(tmp_path / "b"), 0.25))
    assert (extra.split.num_images, extra.duplicates) == (5, 0)
    assert str(extra) == f"25 % of each batch from 10 captions of 5 images in {tmp_path / 'b'}"


@pytest.mark.parametrize("of", ["train", "val", "test"])
def test_images_of_any_split_of_the_main_set_are_removed(tmp_path, main, of):
    """Otherwise validation images leak into training, and training images become negatives of themselves."""
    written = write_precomp(tmp_path / "b", images=5, captions_per_image=2, seed=4)
    array = written.features.copy()
    array[[0, 3]] = load_split(main, of).features.read(np.array([2, 1]))
    np.save(written.path("_ims.npy"), array)
    (extra,) = opened_mix(main, ExtraSet(str(tmp_path / "b"), 0.5))
    assert extra.duplicates == 2
    assert extra.split.captions == tuple(written.captions[c] for c in (2, 3, 4, 5, 8, 9))
    np.testing.assert_array_equal(extra.split.features.read(np.arange(3)), array[[1, 2, 4]])
    assert "(2 duplicate images removed)" in str(extra)


def test_images_of_an_earlier_extra_set_are_removed(tmp_path, main):
    written = write_precomp(tmp_path / "b", images=5, seed=4)
    write_precomp(tmp_path / "c", images=5, seed=5)
    array = np.load(tmp_path / "c" / "train_ims.npy")
    array[1] = written.features[0]
    np.save(tmp_path / "c" / "train_ims.npy", array)
    _, later = opened_mix(main, ExtraSet(str(tmp_path / "b"), 0.2), ExtraSet(str(tmp_path / "c"), 0.2))
    assert later.duplicates == 1


def test_set_that_only_has_duplicates(tmp_path, main):
    shutil.copytree(main, tmp_path / "copy")
    with pytest.raises(
        ConfigError, match=r"data\.mix\[0\]\.root=.*/copy: all 6 training images are duplicates .*/main"
    ):
        opened_mix(main, ExtraSet(str(tmp_path / "copy"), 0.5))
    write_precomp(tmp_path / "b", images=5, seed=4)
    twice = ExtraSet(str(tmp_path / "b"), 0.2)
    with pytest.raises(ConfigError, match=r"data\.mix\[1\]\.root=.*/b: all 5 training images .* or in an earlier set"):
        opened_mix(main, twice, twice)


def test_extra_set_with_another_number_of_regions(tmp_path, main):
    write_precomp(tmp_path / "b", images=5, regions=7)
    with pytest.raises(DataFormatError, match=r"/main/train_ims\.npy has .*\(4, 8\), .*/b/train_ims\.npy has \(7, 8\)"):
        opened_mix(main, ExtraSet(str(tmp_path / "b"), 0.5))


def test_missing_folder_is_reported_with_its_setting(tmp_path, main):
    with pytest.raises(DataFormatError, match=rf"data\.mix\[0\]\.root must be a folder .* nothing at {tmp_path}/none"):
        opened_mix(main, ExtraSet(str(tmp_path / "none"), 0.5))


@pytest.mark.parametrize(
    ("main", "extra", "drawn"),
    [
        (2910, [], [2910]),
        (2910, [(29_995, 0.5)], [2910, 2910]),
        (2910, [(29_995, 0.8)], [2910, 11_640]),
        (100, [(10, 0.25), (10, 0.25)], [100, 50, 50]),
        (1, [(10, 0.001)], [1, 1]),  # at least one
    ],
)
def test_plan_epoch_draws_each_main_pair_once(main, extra, drawn):
    sets = plan_epoch(main, extra)
    assert [part.drawn for part in sets] == drawn
    assert [part.first for part in sets] == np.cumsum([0, main, *(count for count, _ in extra)])[:-1].tolist()


@given(st.lists(st.integers(1, 80), min_size=1, max_size=4), st.integers(1, 40), st.integers(0, 200))
def test_every_stretch_contains_the_share_of_each_set(drawn, length, start):
    places = interleave_sets(drawn)
    assert np.bincount(places).tolist() == drawn
    stretch = places[start : start + length]
    for number, count in enumerate(drawn):
        share, num_extra = count / sum(drawn), len(drawn) - 1
        assert abs((stretch == number).sum() - share * len(stretch)) <= 1 + max(0, num_extra - 1) * share + 1e-9


def test_most_together_counts_the_short_batch_too():
    assert max_pairs_per_batch(np.array([0, 0, 1, 1, 0, 1, 1]), batch_size=5) == [3, 2]
