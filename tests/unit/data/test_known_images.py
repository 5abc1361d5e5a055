import numpy as np

from tangka_match.data.features import RegionFeatures
from tangka_match.data.known_images import KnownImages


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
