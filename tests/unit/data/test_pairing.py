import numpy as np
import pytest

from helpers.precomp import write_precomp
from tangka_match.data.captions import read_lines
from tangka_match.data.features import RegionFeatures
from tangka_match.data.pairing import count_repeats, pair
from tangka_match.errors import DataFormatError


def paired(written):
    ids_path = written.path("_ids.txt")
    ids = read_lines(ids_path) if ids_path.exists() else None
    return pair(RegionFeatures.open(written.path("_ims.npy")), len(written.captions), ids, ids_path)


def features_of(tmp_path, numbers):
    """Write one-region images, equal for equal numbers."""
    path = tmp_path / "train_ims.npy"
    np.save(path, np.repeat(np.array(numbers, np.float16)[:, None, None], 3, axis=2))
    return RegionFeatures.open(path)


@pytest.mark.parametrize("repeat_rows", [False, True])
@pytest.mark.parametrize("ids", [None, "image", "caption"])
@pytest.mark.parametrize("per_image", [1, 3, 5])
def test_all_layouts_with_k_captions_per_image_give_the_same_pairs(tmp_path, per_image, ids, repeat_rows):
    written = write_precomp(tmp_path, images=4, captions_per_image=per_image, ids=ids, repeat_rows=repeat_rows)
    found = paired(written)
    assert found.caption_to_image.dtype == np.int64
    np.testing.assert_array_equal(found.caption_to_image, written.caption_to_image)
    assert list(found.image_ids) == (written.image_ids if ids else ["0", "1", "2", "3"])
    assert (found.row_map is None) == (not repeat_rows or per_image == 1)
    rows = np.arange(4) if found.row_map is None else found.row_map
    features = RegionFeatures.open(written.path("_ims.npy"))
    np.testing.assert_array_equal(features.read(rows), written.features)


@pytest.mark.parametrize("repeat_rows", [False, True])
def test_any_number_of_captions_per_image_with_one_id_per_caption(tmp_path, repeat_rows):
    written = write_precomp(tmp_path, captions_per_image=[2, 1, 4], ids="caption", repeat_rows=repeat_rows)
    found = paired(written)
    assert found.caption_to_image.tolist() == [0, 0, 1, 2, 2, 2, 2]
    assert list(found.image_ids) == written.image_ids
    assert (None if found.row_map is None else found.row_map.tolist()) == ([0, 2, 3] if repeat_rows else None)


def test_equal_images_with_different_ids_are_not_merged(tmp_path):
    features = features_of(tmp_path, [1, 1, 2, 2])
    found = pair(features, 4, ["a", "b", "c", "d"], tmp_path / "train_ids.txt")
    assert found.row_map is None
    assert found.caption_to_image.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("numbers", "repeats"),
    [
        ([1, 2, 3, 4], 1),
        ([1, 1, 2, 2], 2),
        ([1, 1, 1, 2, 2, 2], 3),
        ([1, 1, 1, 1, 2, 2], 2),  # two neighbouring images may be the same picture
        ([1, 1, 2, 2, 3], 1),
        ([1, 1, 2, 3, 3], 1),
        ([1, 2, 2, 3], 1),
        ([7], 1),
        ([7, 7, 7], 3),
        (np.repeat(np.arange(1, 700), 5), 5),
        ([*np.repeat(np.arange(1, 700), 5), 1], 1),  # differs in a later block only
    ],
)
def test_count_repeats(tmp_path, numbers, repeats):
    assert count_repeats(features_of(tmp_path, numbers)) == repeats


def test_images_with_equal_first_regions_only_are_not_repeats(tmp_path):
    array = np.ones((6, 3, 4), np.float16)
    array[:, 2, 3] = range(6)
    np.save(tmp_path / "a.npy", array)
    assert count_repeats(RegionFeatures.open(tmp_path / "a.npy")) == 1


def test_detecting_no_repeats_reads_one_block(tmp_path, monkeypatch):
    features = features_of(tmp_path, range(1, 2000))
    seen = []
    monkeypatch.setattr(
        RegionFeatures, "first_regions", lambda self, a, b: seen.append((a, b)) or np.arange(b - a)[:, None]
    )
    assert count_repeats(features) == 1
    assert seen == [(0, 513)]


def test_inconsistent_counts_are_reported_with_the_alternatives(tmp_path):
    with pytest.raises(
        DataFormatError,
        match=r"4 rows do not fit 6 captions\. Allowed: k captions .*4, 8, ….*one id per caption.*repeated per caption",
    ):
        pair(features_of(tmp_path, [1, 2, 3, 4]), 6, None, None)


def test_fewer_captions_than_rows(tmp_path):
    with pytest.raises(DataFormatError, match=r"4 rows do not fit 2 captions"):
        pair(features_of(tmp_path, [1, 2, 3, 4]), 2, None, None)


@pytest.mark.parametrize(
    ("numbers", "captions", "ids", "message"),
    [
        ([1, 2], 4, "abc", r"3 ids for 2 images and 4 captions \(train_ims\.npy: 2 rows\)\. Allowed: 2 ids .* or 4 \("),
        ([1, 1, 2, 2], 4, "a", r"1 ids for 2 images and 4 captions"),
        ([1, 2, 3], 3, "aba", r"image id 'a' occurs on line 1 and on line 3"),
        ([1, 2], 4, "aa", r"image id 'a' occurs on line 1 and on line 2"),
        ([1, 2], 4, "aaba", r"image id 'a' on line 2 occurs again on line 4"),
        ([1, 2], 4, "aabc", r"4 ids, one per caption, name 3 images; .*train_ims\.npy has 2 rows\. Allowed: .*3.*4"),
        ([1, 2, 3, 4], 4, "abbc", r"'b' is on lines 2 and 3, but rows 1 and 2 of train_ims\.npy differ.*\(4\)"),
    ],
)
def test_inconsistent_ids(tmp_path, numbers, captions, ids, message):
    path = tmp_path / "train_ids.txt"
    with pytest.raises(DataFormatError, match=rf"{path}: .*{message}|{path}: {message}"):
        pair(features_of(tmp_path, numbers), captions, list(ids), path)
