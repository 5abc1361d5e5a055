"""Tests of ``tangka_match.data.split``."""

import re
import shutil

import numpy as np
import pytest

from helpers.precomp import write_dataset, write_lines, write_precomp
from helpers.shared import SHARED, needs_shared
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.data.split import load_split, subsample_images
from tangka_match.errors import ConfigError, DataFormatError


def test_load_split(tmp_path):
    written = write_precomp(tmp_path, "val", images=4, captions_per_image=2, ids="image", boxes=True)
    split = load_split(tmp_path, "val", expected_images=4, expected_captions=8)
    assert (split.name, split.num_images, split.num_captions) == ("val", 4, 8)
    assert list(split.captions) == written.captions
    assert list(split.image_ids) == written.image_ids
    assert split.captions_path == written.path("_caps.txt")
    assert split.boxes.shape == (4, 4, 4)
    np.testing.assert_array_equal(split.caption_to_image, written.caption_to_image)
    np.testing.assert_array_equal(split.features.read(np.arange(4)), written.features)


def test_split_without_ids_and_boxes(tmp_path):
    write_precomp(tmp_path, images=3)
    split = load_split(tmp_path, "train")
    assert split.boxes is None
    assert split.image_ids == ("0", "1", "2")


def test_images_repeated_per_caption_give_the_same_split(tmp_path):
    """Features, boxes, pairs and fingerprint do not depend on repetition."""
    for name, repeat in (("once", False), ("five", True)):
        write_precomp(tmp_path / name, images=4, captions_per_image=5, ids="image", boxes=True, repeat_rows=repeat)
    once, five = (load_split(tmp_path / name, "train") for name in ("once", "five"))
    assert (once.features.num_rows, five.features.num_rows) == (4, 20)
    assert (once.num_images, once.image_ids, once.fingerprint) == (five.num_images, five.image_ids, five.fingerprint)
    np.testing.assert_array_equal(once.boxes, five.boxes)
    np.testing.assert_array_equal(once.caption_to_image, five.caption_to_image)
    np.testing.assert_array_equal(once.features.read(np.arange(4)), five.features.read(np.arange(4)))


def test_fingerprint_of_a_copy_and_of_changed_data(tmp_path):
    write_precomp(tmp_path / "a", ids="image")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    shutil.copytree(tmp_path / "a", tmp_path / "caption")
    shutil.copytree(tmp_path / "a", tmp_path / "ids")
    write_precomp(tmp_path / "features", ids="image", seed=5)
    captions = (tmp_path / "a" / "train_caps.txt").read_text("utf-8")
    (tmp_path / "caption" / "train_caps.txt").write_text(captions.replace("宝剑", "法轮"), "utf-8")
    write_lines(tmp_path / "ids" / "train_ids.txt", list("abcdef"))
    prints = {
        name: load_split(tmp_path / name, "train").fingerprint for name in ("a", "copy", "caption", "ids", "features")
    }
    assert prints["a"] == prints["copy"]
    assert len(set(prints.values())) == 4


def test_fingerprint_depends_on_the_pairs(tmp_path):
    prints = set()
    for name, counts in (("a", [1, 3]), ("b", [3, 1])):
        captions = ["甲", "乙", "丙", "丁"]
        write_precomp(tmp_path / name, captions_per_image=counts, ids="caption", captions=captions)
        prints.add(load_split(tmp_path / name, "train").fingerprint)
    assert len(prints) == 2


@needs_shared
def test_legacy_set():
    split = load_split(SHARED / "fixtures" / "legacy_sgr" / "data" / "mini_precomp", "val")
    assert (split.num_images, split.num_captions, split.features.feature_dim) == (25, 125, 64)
    assert split.image_ids[0] == "2998861375_02817e0147.jpg"
    assert split.caption_to_image.tolist() == [n // 5 for n in range(125)]


def missing_captions(root):
    (root / "train_caps.txt").unlink()


def missing_features(root):
    (root / "train_ims.npy").unlink()


def empty_caption(root):
    write_lines(root / "train_caps.txt", ["狗", "", "猫", "", "马", "牛"])


def ragged_captions_without_ids(root):
    write_lines(root / "train_caps.txt", ["狗"] * 8)


def not_utf8(root):
    (root / "train_caps.txt").write_bytes("狗\n猫\n".encode() + "绿度母\n".encode("gb18030"))


def nan_features(root):
    change_features(root, (4, 2, 1), np.nan)


def infinite_features(root):
    change_features(root, (1, 0, 1), np.inf)


def empty_image(root):
    change_features(root, 3, 0)


def wrong_dtype(root):
    np.save(root / "train_ims.npy", np.load(root / "train_ims.npy").astype(np.float64))


def wrong_dimensions(root):
    np.save(root / "train_ims.npy", np.load(root / "train_ims.npy").mean(axis=1))


def truncated(root):
    path = root / "train_ims.npy"
    path.write_bytes(path.read_bytes()[:300])


def repeated_ids(root):
    write_lines(root / "train_ids.txt", list("abcdeb"))


def too_few_ids(root):
    write_lines(root / "train_ids.txt", list("abcd"))


def boxes_in_pixels(root):
    np.save(root / "train_boxes.npy", np.full((6, 4, 4), 224, np.float32))


def boxes_of_other_regions(root):
    np.save(root / "train_boxes.npy", np.zeros((6, 36, 4), np.float32))


def change_features(root, where, value):
    array = np.load(root / "train_ims.npy")
    array[where] = value
    np.save(root / "train_ims.npy", array)


FAULTS = [
    (missing_captions, "train_caps.txt", ["is missing", "UTF-8, one caption per line"]),
    (missing_features, "train_ims.npy", ["'train' has no features", "splits found .*: none", "Check data.root"]),
    (empty_caption, "train_caps.txt", ["2 of 6 lines are empty: 2, 4", "fill or remove"]),
    (
        ragged_captions_without_ids,
        "train_ims.npy",
        ["6 rows do not fit 8 captions", "_ids.txt", "k captions per image"],
    ),
    (not_utf8, "train_caps.txt", [r"line 3, byte 1 \(0xc2\) is not UTF-8", "iconv"]),
    (nan_features, "train_ims.npy", ["row 4 .*'4'.*, region 2: NaN or Inf; 1 such", "extract this image again"]),
    (infinite_features, "train_ims.npy", ["row 1 .*'1'.*, region 0: NaN or Inf", "overflow on conversion to float16"]),
    (empty_image, "train_ims.npy", ["row 3 .*'3'.*: all 4 regions are zeros", "remove it and its captions"]),
    (wrong_dtype, "train_ims.npy", ["float16 or float32; found dtype <f8", "np.save"]),
    (wrong_dimensions, "train_ims.npy", [r"\(images, regions, dimensions\).*found shape \(6, 8\)"]),
    (truncated, "train_ims.npy", ["truncated: 300 bytes found, 512 expected", "again"]),
    (repeated_ids, "train_ids.txt", ["'b' occurs on line 2 and on line 6", "unique"]),
    (too_few_ids, "train_ids.txt", ["4 ids for 6 images and 6 captions", "Allowed: 6 ids"]),
    (boxes_in_pixels, "train_boxes.npy", [r"row 0, region 0: box \[224.0, .*\(24 such", "divide pixels"]),
    (boxes_of_other_regions, "train_boxes.npy", [r"must be \(6, 4, 4\) floats.*found shape \(6, 36, 4\)"]),
]


@pytest.mark.parametrize(("spoil", "file", "patterns"), FAULTS, ids=[spoil.__name__ for spoil, _, _ in FAULTS])
def test_each_fault_has_a_clear_message(tmp_path, spoil, file, patterns):
    write_precomp(tmp_path, images=6)
    load_split(tmp_path, "train")
    spoil(tmp_path)
    with pytest.raises(DataFormatError) as caught:
        load_split(tmp_path, "train")
    message = str(caught.value)
    assert str(tmp_path / file) in message
    for pattern in patterns:
        assert re.search(pattern, message), message


@pytest.mark.parametrize(
    ("images", "captions", "message"),
    [
        (
            5_999,
            None,
            r"train_ims\.npy: split 'train' has 6 images, but data.expected_counts expects 5,999\. Write the set",
        ),
        (6, 30, r"train_caps\.txt: split 'train' has 12 captions, but data.expected_counts expects 30\..*data=precomp"),
    ],
)
def test_unexpected_counts(tmp_path, images, captions, message):
    write_precomp(tmp_path, images=6, captions_per_image=2)
    with pytest.raises(DataFormatError, match=message):
        load_split(tmp_path, "train", expected_images=images, expected_captions=captions)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    write_precomp(root, images=40, captions_per_image=3)
    return load_split(root, "train")


def texts_of(split):
    """Return the captions of each image id."""
    pairs = {}
    for text, image in zip(split.captions, split.caption_to_image, strict=True):
        pairs.setdefault(split.image_ids[image], []).append(text)
    return pairs


@pytest.mark.parametrize(("share", "images"), [(0.25, 10), (0.5, 20), (0.76, 30), (0.001, 1)])
def test_images_keep_their_captions_and_features(split, share, images):
    part = subsample_images(split, share, seed=0)
    assert (part.num_images, part.num_captions, part.features.num_images) == (images, 3 * images, images)
    whole = texts_of(split)
    assert texts_of(part) == {name: whole[name] for name in part.image_ids}
    rows = [split.image_ids.index(name) for name in part.image_ids]
    assert rows == sorted(rows)
    np.testing.assert_array_equal(part.features.read(np.arange(images)), split.features.read(np.array(rows)))


def test_smaller_subsets_are_nested_and_depend_on_the_seed(split):
    ids = [set(subsample_images(split, share, seed=3).image_ids) for share in (0.25, 0.5, 0.75)]
    assert ids[0] < ids[1] < ids[2] < set(split.image_ids)
    assert set(subsample_images(split, 0.25, seed=4).image_ids) != ids[0]
    assert set(subsample_images(split, 0.25, seed=3).image_ids) == ids[0]


def test_share_1_is_the_split_itself_and_subsets_have_their_own_fingerprint(split):
    assert subsample_images(split, 1.0, seed=0) is split
    prints = {subsample_images(split, 0.5, seed).fingerprint for seed in (0, 0, 1)} | {split.fingerprint}
    assert len(prints) == 3


def test_subset_with_images_repeated_per_caption_and_boxes(tmp_path):
    write_precomp(tmp_path, images=8, captions_per_image=2, repeat_rows=True, boxes=True)
    whole = load_split(tmp_path, "train")
    part = subsample_images(whole, 0.5, seed=0)
    rows = np.array([whole.image_ids.index(name) for name in part.image_ids])
    np.testing.assert_array_equal(part.features.read(np.arange(4)), whole.features.read(rows))
    np.testing.assert_array_equal(part.boxes, whole.boxes[rows])


def test_vocabulary_and_batches_only_use_the_subset(tmp_path):
    root = write_dataset(tmp_path, train=12, val=5, captions_per_image=2)
    whole, part = (RegionTextDataModule(str(root), batch_size=3, train_share=share) for share in (1.0, 0.25))
    for data in (whole, part):
        data.setup("fit")
    assert (part.train.num_images, part.steps_per_epoch, whole.steps_per_epoch) == (3, 2, 8)
    words = {word for caption in part.train.captions for word in part.tokenizer(caption)}
    assert len(part.vocabulary) == 4 + len(words) < len(whole.vocabulary)
    assert part.fingerprint != whole.fingerprint
    assert sorted(i for batch in part.train_dataloader() for i in batch.caption_index.tolist()) == list(range(6))


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01])
def test_share_out_of_range(tmp_path, share):
    with pytest.raises(ConfigError, match=rf"data.train_share={share} must be in \(0, 1\]"):
        RegionTextDataModule(str(tmp_path), train_share=share)
