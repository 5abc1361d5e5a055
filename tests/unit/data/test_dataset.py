import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.precomp import write_precomp
from tangka_match.data.dataset import (
    CaptionDataset,
    CaptionRows,
    ImageDataset,
    ImageRows,
    PairDataset,
    PairRows,
    collate_captions,
    collate_images,
    collate_pairs,
    pad_tokens,
)
from tangka_match.data.encoding import EncodedCaptions, encode_captions
from tangka_match.data.features import RegionFeatures
from tangka_match.data.split import load_split
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import DataFormatError
from tangka_match.types import CaptionBatch, ImageBatch, RegionTextBatch


def image_rows(dtype=np.float16):
    mask = np.array([[True, True, False], [True, False, False]])
    regions = np.arange(12, dtype=dtype).reshape(2, 3, 2) * mask[..., None]
    return ImageRows(regions.astype(dtype), mask, np.array([4, 1]))


def caption_rows():
    return CaptionRows([np.array([1, 9, 2]), np.array([1, 8, 7, 6, 2])], np.array([5, 3]))


def test_captions_are_padded_to_the_longest():
    ids, mask = pad_tokens(caption_rows().token_ids)
    assert ids.tolist() == [[1, 9, 2, Vocabulary.PAD, Vocabulary.PAD], [1, 8, 7, 6, 2]]
    assert mask.tolist() == [[True, True, True, False, False], [True] * 5]
    assert (ids.dtype, mask.dtype) == (torch.int64, torch.bool)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_collate_images(dtype):
    batch = collate_images(image_rows(dtype))
    assert isinstance(batch, ImageBatch)
    assert batch.regions.dtype == getattr(torch, dtype)
    assert batch.region_mask.tolist() == [[True, True, False], [True, False, False]]
    assert batch.image_index.tolist() == [4, 1]


def test_collate_captions_keeps_the_order():
    batch = collate_captions(caption_rows())
    assert isinstance(batch, CaptionBatch)
    assert batch.token_mask.sum(1).tolist() == [3, 5]
    assert batch.caption_index.tolist() == [5, 3]


def test_collate_pairs():
    batch = collate_pairs(PairRows(image_rows(), caption_rows(), np.array([0, 2])))
    assert isinstance(batch, RegionTextBatch)
    for name, expected in {
        **collate_images(image_rows())._asdict(),
        **collate_captions(caption_rows())._asdict(),
        "text_group": torch.tensor([0, 2]),
    }.items():
        torch.testing.assert_close(getattr(batch, name), expected)


def encode(split) -> EncodedCaptions:
    words = [list(caption) for caption in split.captions]
    return encode_captions(words, Vocabulary.build(words), 80, split.captions_path)


def pairs_of(root) -> PairDataset:
    split = load_split(root, "train")
    return PairDataset(split, encode(split))


def test_pairs_have_a_caption_and_its_image(tmp_path):
    written = write_precomp(tmp_path, captions_per_image=[2, 1, 3], ids="caption", padded=1)
    pairs = pairs_of(tmp_path)
    assert len(pairs) == 6
    rows = pairs.__getitems__([5, 0, 2])
    assert rows.captions.caption_index.tolist() == [5, 0, 2]
    assert rows.images.image_index.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(rows.images.regions, written.features[[2, 0, 1]])
    assert rows.images.region_mask.sum(axis=1).tolist() == [3, 3, 3]
    for found, index in zip(rows.captions.token_ids, [5, 0, 2], strict=True):
        assert len(found) == len(written.captions[index]) + 2


def test_text_group_is_equal_for_equal_texts(tmp_path):
    write_precomp(tmp_path, images=4, captions=["绿度母", "金刚手", "绿度母 ", "文殊"])
    assert pairs_of(tmp_path).__getitems__([0, 1, 2, 3]).text_group.tolist() == [0, 1, 0, 2]
    assert pairs_of(tmp_path).__getitems__([2, 1]).text_group.tolist() == [0, 1]


def test_batch_is_read_at_once(tmp_path, monkeypatch):
    write_precomp(tmp_path, images=8)
    pairs, reads, read = pairs_of(tmp_path), [], RegionFeatures.read
    monkeypatch.setattr(RegionFeatures, "read", lambda self, rows: reads.append(len(rows)) or read(self, rows))
    pairs.__getitems__([1, 7, 3, 2])
    assert reads == [4]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_regions_keep_the_stored_dtype(tmp_path, dtype):
    write_precomp(tmp_path, dtype=dtype)
    assert pairs_of(tmp_path)[0].images.regions.dtype == dtype


@pytest.mark.parametrize("per_image", [1, 5])
def test_layouts_of_the_same_data_give_identical_pairs(tmp_path, per_image):
    """With k captions per image, one id per caption, and images repeated per caption."""
    layouts = [
        {},
        {"ids": "image"},
        {"ids": "caption"},
        {"repeat_rows": True},
        {"ids": "image", "repeat_rows": True},
        {"ids": "caption", "repeat_rows": True},
    ]
    batches = []
    for number, layout in enumerate(layouts):
        root = tmp_path / str(number)
        write_precomp(root, images=7, captions_per_image=per_image, dtype="float32", **layout)
        rows = pairs_of(root).__getitems__([6, 0, per_image * 7 - 1, 3])
        batches.append([*rows.images, *rows.captions.token_ids, rows.captions.caption_index, rows.text_group])
    for other in batches[1:]:
        for expected, found in zip(batches[0], other, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_damaged_features_are_reported_when_read(tmp_path):
    """For images that were not sampled when the set was opened."""
    written = write_precomp(tmp_path, images=300, ids="image")
    unseen = int(np.setdiff1d(np.arange(300), load_split(tmp_path, "train").features.sample_indices())[0])
    written.features[unseen, 1, 3] = np.nan
    np.save(written.path("_ims.npy"), written.features)
    pairs = pairs_of(tmp_path)
    pairs.__getitems__([unseen - 1, unseen + 1])
    with pytest.raises(DataFormatError, match=rf"row {unseen} \(image id 'train-{unseen:04}'\), region 1"):
        pairs.__getitems__([unseen - 1, unseen])


def test_image_and_caption_datasets(tmp_path):
    written = write_precomp(tmp_path, images=3, captions_per_image=2)
    split = load_split(tmp_path, "train")
    images, captions = ImageDataset(split), CaptionDataset(encode(split))
    assert (len(images), len(captions)) == (3, 6)
    np.testing.assert_array_equal(images.__getitems__([2, 1]).regions, written.features[[2, 1]])
    assert images.__getitems__([2, 1]).image_index.tolist() == [2, 1]
    assert images[1].image_index.tolist() == captions[1].caption_index.tolist() == [1]
    assert captions.__getitems__([4, 5]).caption_index.tolist() == [4, 5]


def test_pickle_contains_no_features(tmp_path):
    write_precomp(tmp_path, images=50, regions=36, dim=64)
    pairs = pairs_of(tmp_path)
    before = pairs[3].images.regions
    pickled = pickle.dumps(pairs)
    assert len(pickled) < 50 * 36 * 64
    np.testing.assert_array_equal(pickle.loads(pickled)[3].images.regions, before)


def test_spawned_worker_opens_the_features(tmp_path):
    """Spawned as on macOS: it inherits no open file."""
    written = write_precomp(tmp_path, images=4)
    loader = DataLoader(
        pairs_of(tmp_path), batch_size=4, collate_fn=collate_pairs, num_workers=1, multiprocessing_context="spawn"
    )
    (batch,) = loader
    np.testing.assert_array_equal(batch.regions, written.features)
