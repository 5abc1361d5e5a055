import numpy as np
import pytest
import torch

from tangka_match.data.collate import collate_captions, collate_images, collate_pairs, pad_tokens
from tangka_match.data.dataset import CaptionRows, ImageRows, PairRows
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.types import CaptionBatch, ImageBatch, RegionTextBatch


def image_rows(dtype=np.float16):
    mask = np.array([[True, True, False], [True, False, False]])
    regions = np.arange(12, dtype=dtype).reshape(2, 3, 2) * mask[..., None]
    return ImageRows(regions.astype(dtype), mask, np.array([4, 1]))


def caption_rows():
    return CaptionRows([np.array([1, 9, 2]), np.array([1, 8, 7, 6, 2])], np.array([5, 3]))


def test_tokens_are_padded_at_the_end_to_the_longest():
    ids, mask = pad_tokens(caption_rows().token_ids)
    assert ids.tolist() == [[1, 9, 2, Vocabulary.PAD, Vocabulary.PAD], [1, 8, 7, 6, 2]]
    assert mask.tolist() == [[True, True, True, False, False], [True] * 5]
    assert (ids.dtype, mask.dtype) == (torch.int64, torch.bool)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_images(dtype):
    batch = collate_images(image_rows(dtype))
    assert isinstance(batch, ImageBatch)
    assert batch.regions.dtype == getattr(torch, dtype)
    assert batch.region_mask.tolist() == [[True, True, False], [True, False, False]]
    assert batch.image_index.tolist() == [4, 1]


def test_captions_keep_the_order_given():
    batch = collate_captions(caption_rows())
    assert isinstance(batch, CaptionBatch)
    assert batch.token_mask.sum(1).tolist() == [3, 5]
    assert batch.caption_index.tolist() == [5, 3]


def test_pairs_are_images_and_captions_side_by_side():
    batch = collate_pairs(PairRows(image_rows(), caption_rows(), np.array([0, 2])))
    assert isinstance(batch, RegionTextBatch)
    for name, expected in {
        **collate_images(image_rows())._asdict(),
        **collate_captions(caption_rows())._asdict(),
        "text_group": torch.tensor([0, 2]),
    }.items():
        torch.testing.assert_close(getattr(batch, name), expected)
