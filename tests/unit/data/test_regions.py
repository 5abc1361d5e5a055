import numpy as np
import pytest

from helpers.precomp import write_precomp
from tangka_match.data.features import RegionFeatures
from tangka_match.data.regions import check_sample, read_boxes, read_regions, real_regions
from tangka_match.errors import DataFormatError


def test_boxes_are_read_as_float32(tmp_path):
    boxes = np.array([[[0, 0.25, 0.5, 1], [0, 0, 0, 0]]], np.float16)
    np.save(tmp_path / "b.npy", boxes)
    read = read_boxes(tmp_path / "b.npy", 1, 2)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, boxes)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (np.zeros((2, 3, 4)), r"must be \(1, 3, 4\) floats.*found shape \(2, 3, 4\), dtype <f8"),
        (np.zeros((1, 3, 5)), r"found shape \(1, 3, 5\)"),
        (np.zeros((1, 3, 4), np.int64), r"dtype <i8"),
        (
            [[[0, 0, 1, 1], [0, 0, 224, 224], [9, 9, 9, 9]]],
            r"row 0, region 1: box \[0\.0, 0\.0, 224\.0, 224\.0\] \(2 su",
        ),
        (
            [[[0, 0, 1, 1], [0, 0, 1, 1], [0.5, 0, 0.25, 1]]],
            r"row 0, region 2: box \[0\.5, 0\.0, 0\.25, 1\.0\] \(1 such",
        ),
        ([[[0, 0, 1, 1], [0, np.nan, 1, 1], [0, 0, 1, 1]]], r"row 0, region 1: box \[0\.0, nan, 1\.0, 1\.0\]"),
        ([[[-0.5, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]], r"row 0, region 0: box \[-0\.5, 0\.0"),
    ],
)
def test_invalid_boxes(tmp_path, boxes, message):
    boxes = np.asarray(boxes, np.float32) if isinstance(boxes, list) else boxes
    np.save(tmp_path / "b.npy", boxes)
    with pytest.raises(DataFormatError, match=rf"b\.npy: .*{message}|b\.npy: {message}"):
        read_boxes(tmp_path / "b.npy", 1, 3)


IDS = [f"thangka-{n}" for n in range(200)]


def opened(path, array):
    np.save(path, array)
    return RegionFeatures.open(path)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_real_and_finite_masks_equal_those_of_numpy(dtype):
    limits = np.finfo(dtype)
    odd = [0, -0.0, 1, -1, np.inf, -np.inf, np.nan, -np.nan, limits.max, limits.min, limits.smallest_subnormal]
    pairs = np.array([(a, b) for a in odd for b in odd], dtype=dtype)[None]
    real, finite = real_regions(pairs)
    np.testing.assert_array_equal(real, (pairs != 0).any(axis=-1))
    np.testing.assert_array_equal(finite, np.isfinite(pairs).all(axis=-1))


def test_all_zero_regions_are_padding(tmp_path):
    written = write_precomp(tmp_path, images=3, regions=4, padded=1)
    regions, mask = read_regions(RegionFeatures.open(written.path("_ims.npy")), np.array([2, 0]), IDS)
    np.testing.assert_array_equal(regions, written.features[[2, 0]])
    assert mask.tolist() == [[True, True, True, False]] * 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_first_damaged_row_is_reported_in_any_batch_order(tmp_path, value):
    array = np.ones((9, 4, 8), np.float16)
    array[7, 0, 0] = array[3, 2, 5:] = value
    features = opened(tmp_path / "a.npy", array)
    with pytest.raises(
        DataFormatError,
        match=rf"{tmp_path}/a\.npy: row 3 \(image id 'thangka-3'\), region 2: NaN or Inf; 4 such values in 2 of the 5",
    ):
        read_regions(features, np.array([8, 7, 0, 3, 1]), IDS)


def test_reported_row_is_that_of_the_file_for_repeated_images(tmp_path):
    array = np.ones((6, 4, 8), np.float16)
    array[4] = np.nan
    features = opened(tmp_path / "a.npy", array).with_row_map(np.array([0, 2, 4]))
    with pytest.raises(DataFormatError, match=r"row 4 \(image id 'thangka-2'\), region 0"):
        read_regions(features, np.array([2]), IDS)


def test_image_without_real_regions_is_reported(tmp_path):
    array = np.ones((9, 4, 8), np.float32)
    array[[5, 6]] = 0
    features = opened(tmp_path / "a.npy", array)
    with pytest.raises(
        DataFormatError, match=r"row 5 \(image id 'thangka-5'\): all 4 regions are zeros; 2 such images"
    ):
        read_regions(features, np.array([6, 5, 0]), IDS)


def test_opening_checks_a_sample_and_reading_checks_all(tmp_path):
    array = np.ones((200, 2, 3), np.float16)
    sample = opened(tmp_path / "a.npy", array).sample_indices()
    unseen = int(np.setdiff1d(np.arange(200), sample)[0])
    array[unseen] = np.nan
    features = opened(tmp_path / "b.npy", array)
    check_sample(features, IDS)
    with pytest.raises(DataFormatError, match=f"row {unseen} "):
        read_regions(features, np.array([unseen]), IDS)
    array[sample[9]] = np.nan
    with pytest.raises(DataFormatError, match=f"row {sample[9]} .* of the 64 images read"):
        check_sample(opened(tmp_path / "c.npy", array), IDS)
