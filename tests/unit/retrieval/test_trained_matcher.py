import numpy as np
import pytest
import torch

import tangka_match
from helpers.precomp import write_dataset
from helpers.small_checkpoints import write_checkpoint
from tangka_match.data.split import load_split
from tangka_match.errors import CheckpointError, DataFormatError, ShapeError
from tangka_match.retrieval.metadata import METADATA_KEY

FEATURES, REGIONS = 8, 4
CAPTIONS = ["绿度母结跏趺坐", "白度母", "莲花与祥云", "绿度母持乌巴拉花"]


@pytest.fixture
def checkpoint(tmp_path):
    """Write a checkpoint of a tiny SGRAF in the format of training, and return its path."""
    return write_checkpoint(tmp_path / "best.ckpt", CAPTIONS, regions=REGIONS, dim=FEATURES)


@pytest.fixture
def regions():
    return np.random.default_rng(0).normal(size=(3, REGIONS, FEATURES)).astype(np.float32)


def test_batch_size_and_input_type_do_not_change_scores(checkpoint, regions):
    expected = tangka_match.load(checkpoint).similarity(regions, CAPTIONS)
    assert expected.shape == (3, 4)
    small = tangka_match.load(checkpoint, batch_size=1)
    for images in (regions, torch.from_numpy(regions), iter(regions), regions.tolist()):
        torch.testing.assert_close(small.similarity(images, iter(CAPTIONS)), expected)


def test_scores_keep_the_order_of_captions(checkpoint, regions):
    matcher = tangka_match.load(checkpoint)
    order = [2, 0, 3, 1]
    permuted = matcher.similarity(regions, [CAPTIONS[k] for k in order])
    torch.testing.assert_close(permuted, matcher.similarity(regions, CAPTIONS)[:, order])


def test_all_zero_regions_are_padding(checkpoint, regions):
    matcher = tangka_match.load(checkpoint)
    regions[:, -1] = 0
    images = matcher.encode_images(regions)
    assert images.mask.tolist() == [[True, True, True, False]] * 3


def test_encode_split_scores_like_rows_and_captions(checkpoint, tmp_path):
    matcher = tangka_match.load(checkpoint, batch_size=2)
    root = write_dataset(tmp_path / "set", dim=FEATURES, regions=REGIONS)
    split = load_split(root, "val")
    images, texts = matcher.encode_split(split)
    rows = split.features.read(np.arange(split.num_images))
    torch.testing.assert_close(matcher.similarity(images, texts), matcher.similarity(rows, split.captions))


def test_invalid_inputs_are_errors(checkpoint, regions):
    matcher = tangka_match.load(checkpoint)
    with pytest.raises(ShapeError, match=r"regions has shape \(3, 4, 7\); this model takes \(images, regions, 8\)"):
        matcher.encode_images(regions[:, :, :-1])
    with pytest.raises(DataFormatError, match="regions is empty"):
        matcher.encode_images([])
    with pytest.raises(DataFormatError, match=r"1 caption of 2 without a word.*line 2"):
        matcher.encode_texts(["绿度母", "。"])
    with pytest.raises(DataFormatError, match="captions is a single string, '绿度母'; give a list of captions"):
        matcher.similarity(regions, "绿度母")


def test_weights_of_another_model_are_refused(checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    content[METADATA_KEY]["model"]["sim_dim"] = 5
    torch.save(content, checkpoint)
    with pytest.raises(CheckpointError, match=r"(?s)best.ckpt: its weights do not fit .*sim_tranloc_w"):
        tangka_match.load(checkpoint)
