import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.precomp import write_dataset, write_precomp
from tangka_match.data.features import RegionFeatures
from tangka_match.data.mix import FurtherSet, KnownImages, lay_out, most_together, open_further_sets, read_mix, spread
from tangka_match.data.split import load_split
from tangka_match.errors import ConfigError, DataFormatError


def opened(path, array):
    np.save(path, array)
    return RegionFeatures.open(path)


def images(count, seed, dtype=np.float16):
    return np.random.default_rng(seed).normal(size=(count, 3, 5)).astype(dtype)


def test_equal_images_are_found_wherever_they_stand(tmp_path):
    first, second, other = images(300, 1), images(4, 2), images(5, 3)
    other[1], other[4] = first[299], second[0]
    known = KnownImages()
    known.add(opened(tmp_path / "first.npy", first))
    known.add(opened(tmp_path / "second.npy", second))
    assert known.among(opened(tmp_path / "other.npy", other)).tolist() == [False, True, False, False, True]


def test_the_first_region_alone_does_not_make_two_images_one(tmp_path):
    """Such as the whole picture, where it says nothing: then the other regions are looked at."""
    first, other = images(6, 1), images(6, 2)
    first[:, 0] = other[:, 0] = 1.0
    other[3] = first[2]
    known = KnownImages()
    known.add(opened(tmp_path / "first.npy", first))
    assert np.flatnonzero(known.among(opened(tmp_path / "other.npy", other))).tolist() == [3]


def test_the_same_numbers_in_float32_are_the_same_image(tmp_path):
    first = images(3, 1)
    known = KnownImages()
    known.add(opened(tmp_path / "first.npy", first))
    assert known.among(opened(tmp_path / "wide.npy", first[[2, 0]].astype(np.float32))).all()
    assert not known.among(opened(tmp_path / "large.npy", np.full((1, 3, 5), 1e9, np.float32))).any()


def test_images_of_another_shape_are_others(tmp_path):
    first = images(3, 1)
    known = KnownImages()
    known.add(opened(tmp_path / "first.npy", first))
    assert not known.among(opened(tmp_path / "fewer.npy", first[:, :2])).any()


def test_repeated_and_chosen_rows(tmp_path):
    first = images(4, 1)
    known = KnownImages()
    known.add(opened(tmp_path / "first.npy", np.repeat(first, 2, axis=0)).at_rows(np.array([0, 4])))  # images 0 and 2
    assert known.among(opened(tmp_path / "other.npy", first)).tolist() == [True, False, True, False]
    assert known.among(opened(tmp_path / "back.npy", first).at_rows(np.array([3, 2]))).tolist() == [False, True]


def test_nothing_met_nothing_known(tmp_path):
    assert not KnownImages().among(opened(tmp_path / "a.npy", images(2, 1))).any()


@pytest.mark.parametrize(
    ("mix", "said"),
    [
        (
            [{"root": "a"}],
            r"data\.mix\[0\]=\{'root': 'a'\}; allowed: \{root: <folder>, share: <of the pairs of a batch>\}",
        ),
        ([{"root": "a", "share": 0.2}, {"path": "a", "share": 0.5}], r"data\.mix\[1\]=\{'path': 'a', 'share': 0\.5\}"),
        ([{"root": "a", "share": "half"}], r"data\.mix\[0\]=\{'root': 'a', 'share': 'half'\}"),
        ([{"root": 3, "share": 0.5}], r"data\.mix\[0\]=\{'root': 3, 'share': 0\.5\}"),
        ([{"root": "a", "share": True}], r"data\.mix\[0\]=\{'root': 'a', 'share': True\}"),
        ([{"root": "a", "share": 0}], r"data\.mix\[0\]\.share=0; allowed: more than 0, under 1"),
        ([{"root": "a", "share": 1.0}], r"data\.mix\[0\]\.share=1\.0; allowed"),
        ([{"root": "a", "share": float("nan")}], r"data\.mix\[0\]\.share=nan; allowed"),
        (
            [{"root": "a", "share": 0.6}, {"root": "b", "share": 0.4}],
            r"shares \[0\.6, 0\.4\] add up to 1, which leaves nothing",
        ),
    ],
)
def test_a_faulty_mix(mix, said):
    with pytest.raises(ConfigError, match=said):
        read_mix(mix)


@pytest.fixture
def own(tmp_path):
    root = write_dataset(tmp_path / "own", train=6, val=4)
    write_precomp(root, "test", images=3, seed=8)
    return root


def opened_mix(root, *sets):
    own, val = load_split(root, "train"), load_split(root, "val")
    return open_further_sets(sets, str(root), own, val)


def test_a_set_of_other_images_is_used_whole(tmp_path, own):
    write_precomp(tmp_path / "b", images=5, captions_per_image=2, seed=4)
    (further,) = opened_mix(own, FurtherSet(str(tmp_path / "b"), 0.25))
    assert (further.split.num_images, further.left_out) == (5, 0)
    assert str(further) == f"25 % of each batch from 10 captions of 5 images in {tmp_path / 'b'}"


@pytest.mark.parametrize("of", ["train", "val", "test"])
def test_images_of_the_own_set_are_left_out_whatever_their_split(tmp_path, own, of):
    """Validated on they would leak; trained on twice they would be negatives of themselves."""
    written = write_precomp(tmp_path / "b", images=5, captions_per_image=2, seed=4)
    array = written.features.copy()
    array[[0, 3]] = load_split(own, of).features.read(np.array([2, 1]))
    np.save(written.path("_ims.npy"), array)
    (further,) = opened_mix(own, FurtherSet(str(tmp_path / "b"), 0.5))
    assert further.left_out == 2
    assert further.split.captions == tuple(written.captions[c] for c in (2, 3, 4, 5, 8, 9))
    np.testing.assert_array_equal(further.split.features.read(np.arange(3)), array[[1, 2, 4]])
    assert "(2 more images are known already, and left out)" in str(further)


def test_a_later_set_is_without_the_images_of_an_earlier_one(tmp_path, own):
    written = write_precomp(tmp_path / "b", images=5, seed=4)
    write_precomp(tmp_path / "c", images=5, seed=5)
    array = np.load(tmp_path / "c" / "train_ims.npy")
    array[1] = written.features[0]
    np.save(tmp_path / "c" / "train_ims.npy", array)
    _, later = opened_mix(own, FurtherSet(str(tmp_path / "b"), 0.2), FurtherSet(str(tmp_path / "c"), 0.2))
    assert later.left_out == 1


def test_the_own_set_again_or_a_set_twice(tmp_path, own):
    shutil.copytree(own, tmp_path / "copy")
    with pytest.raises(ConfigError, match=r"data\.mix\[0\]\.root=.*/copy: all of its 6 training images are in .*/own"):
        opened_mix(own, FurtherSet(str(tmp_path / "copy"), 0.5))
    write_precomp(tmp_path / "b", images=5, seed=4)
    twice = FurtherSet(str(tmp_path / "b"), 0.2)
    with pytest.raises(ConfigError, match=r"data\.mix\[1\]\.root=.*/b: all of its 5 .* or in a set named before it"):
        opened_mix(own, twice, twice)


def test_other_regions(tmp_path, own):
    write_precomp(tmp_path / "b", images=5, regions=7)
    with pytest.raises(DataFormatError, match=r"/own/train_ims\.npy has .*\(4, 8\), .*/b/train_ims\.npy has \(7, 8\)"):
        opened_mix(own, FurtherSet(str(tmp_path / "b"), 0.5))


def test_a_missing_folder_is_called_by_its_setting(tmp_path, own):
    with pytest.raises(DataFormatError, match=rf"data\.mix\[0\]\.root must be a folder .* nothing at {tmp_path}/none"):
        opened_mix(own, FurtherSet(str(tmp_path / "none"), 0.5))


@pytest.mark.parametrize(
    ("own", "further", "drawn"),
    [
        (2910, [], [2910]),
        (2910, [(29_995, 0.5)], [2910, 2910]),
        (2910, [(29_995, 0.8)], [2910, 11_640]),
        (100, [(10, 0.25), (10, 0.25)], [100, 50, 50]),
        (1, [(10, 0.001)], [1, 1]),  # never none
    ],
)
def test_an_epoch_goes_once_through_the_own_pairs(own, further, drawn):
    sets = lay_out(own, further)
    assert [part.drawn for part in sets] == drawn
    assert [part.first for part in sets] == np.cumsum([0, own, *(count for count, _ in further)])[:-1].tolist()


@given(st.lists(st.integers(1, 80), min_size=1, max_size=4), st.integers(1, 40), st.integers(0, 200))
def test_every_stretch_has_the_share_of_each_set(drawn, length, start):
    places = spread(drawn)
    assert np.bincount(places).tolist() == drawn
    stretch = places[start : start + length]
    for number, count in enumerate(drawn):
        share, further = count / sum(drawn), len(drawn) - 1
        assert abs((stretch == number).sum() - share * len(stretch)) <= 1 + max(0, further - 1) * share + 1e-9


def test_most_together_counts_the_short_batch_too():
    assert most_together(np.array([0, 0, 1, 1, 0, 1, 1]), batch_size=5) == [3, 2]
