import numpy as np
import pytest
import torch

from helpers.precomp import write_precomp
from tangka_match.data.dataset import PairDataset
from tangka_match.data.device_features import DeviceFeatures
from tangka_match.data.encoding import EncodedCaptions
from tangka_match.data.joined import check_same_shape, join_splits
from tangka_match.data.split import load_split
from tangka_match.errors import DataFormatError


@pytest.fixture
def parts(tmp_path):
    write_precomp(tmp_path / "a", images=3, captions_per_image=2)
    write_precomp(tmp_path / "b", images=4, seed=5, ids="image")
    write_precomp(tmp_path / "c", images=2, captions_per_image=2, seed=6, repeat_rows=True)
    return [load_split(tmp_path / name, "train") for name in "abc"]


def test_images_and_captions_are_numbered_consecutively(parts):
    joined = join_splits(parts)
    assert (joined.num_images, joined.num_captions) == (9, 14)
    assert joined.caption_to_image.tolist() == [0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8, 8]
    assert joined.captions == tuple(caption for part in parts for caption in part.captions)
    assert joined.image_ids[3] == parts[1].image_ids[0] == "train-0000"


def test_rows_are_read_from_their_files_in_the_requested_order(parts):
    joined = join_splits(parts)
    rows = np.array([8, 0, 3, 8, 2])
    expected = [parts[2].features, parts[0].features, parts[1].features, parts[2].features, parts[0].features]
    for found, features, row in zip(joined.features.read(rows), expected, [1, 0, 0, 1, 2], strict=True):
        np.testing.assert_array_equal(found, features.read(np.array([row]))[0])
    assert joined.features.read(rows).dtype == np.float16


def test_joining_reads_no_features(parts, monkeypatch):
    monkeypatch.setattr("tangka_match.data.features.RegionFeatures.read", pytest.fail)
    assert join_splits(parts).features.num_images == 9


def test_single_split_is_returned_unchanged(parts):
    assert join_splits(parts[:1]) is parts[0]


def test_fingerprint_depends_on_all_parts_and_their_order(parts):
    prints = {join_splits(chosen).fingerprint for chosen in (parts, parts[:2], parts[1:], parts[::-1])}
    assert len(prints) == 4
    assert join_splits(parts).fingerprint == join_splits(list(parts)).fingerprint


def test_damage_is_reported_with_file_and_row(tmp_path, parts):
    array = np.load(tmp_path / "c" / "train_ims.npy")
    array[2, 1, 3] = np.nan  # row of image 1 of the third set, image 8 of all
    np.save(tmp_path / "c" / "train_ims.npy", array)
    pairs = PairDataset(join_splits(parts), EncodedCaptions(np.tile([1, 5, 2], 14), np.arange(0, 43, 3)))
    with pytest.raises(DataFormatError, match=r"/c/train_ims\.npy: row 2 \(image id '1'\), region 1: NaN"):
        pairs.__getitems__([0, 12])


def test_equal_texts_of_two_sets_share_a_group(parts):
    pairs = PairDataset(join_splits(parts), EncodedCaptions(np.tile([1, 5, 2], 14), np.arange(0, 43, 3)))
    rows = pairs.__getitems__(range(14))
    assert pairs.text_group[[0, 6]].tolist() == [0, 0]  # the first caption of the first two sets
    assert rows.images.image_index.tolist() == [0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8, 8]


def test_joined_features_can_be_kept_on_a_device(parts):
    joined = join_splits(parts)
    kept = DeviceFeatures.load(joined, torch.device("cpu"))
    np.testing.assert_array_equal(kept.regions, joined.features.read(np.arange(9)))


def test_float32_part_makes_all_features_float32(tmp_path, parts):
    write_precomp(tmp_path / "wide", images=2, dtype="float32")
    joined = join_splits([parts[0], load_split(tmp_path / "wide", "train")])
    assert joined.features.read(np.array([0, 3])).dtype == np.float32


@pytest.mark.parametrize("shape", [{"regions": 5}, {"dim": 6}])
def test_splits_of_different_shapes(tmp_path, parts, shape):
    write_precomp(tmp_path / "other", images=2, **shape)
    other = load_split(tmp_path / "other", "train")
    found = rf"\({shape.get('regions', 4)}, {shape.get('dim', 8)}\)"
    message = rf"/a/train_ims\.npy has \(regions, dimensions\) \(4, 8\), .*/other/train_ims\.npy has {found}"
    with pytest.raises(DataFormatError, match=message):
        check_same_shape(parts[0], other)
