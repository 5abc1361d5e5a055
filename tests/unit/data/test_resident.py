"""Features kept on a device know padding from regions, wherever it stands in an image."""

import numpy as np
import pytest
import torch

from helpers.precomp import write_precomp
from tangka_match.data import resident
from tangka_match.data.resident import ResidentFeatures, worth_keeping
from tangka_match.data.split import load_split
from tangka_match.errors import DataFormatError
from tangka_match.types import RegionTextBatch

CPU = torch.device("cpu")
PADDED = {0: [3], 2: [0, 2], 3: [1, 2, 3], 4: [0]}  # image 1 has all its regions
MASK = [
    [True, True, True, False],
    [True, True, True, True],
    [False, True, False, True],
    [True, False, False, False],
    [False, True, True, True],
]


@pytest.fixture
def array(tmp_path):
    array = np.array(write_precomp(tmp_path, images=5, captions_per_image=2).features)
    for image, regions in PADDED.items():
        array[image, regions] = 0
    return array


def opened(tmp_path, array):
    np.save(tmp_path / "train_ims.npy", array)
    return load_split(tmp_path, "train")


def batch_of(image_index):
    """A batch as it comes to the device: no regions, and captions that are none of the features' business."""
    rows = torch.tensor(image_index)
    size = len(rows)
    return RegionTextBatch(
        regions=torch.empty(size, 0, 8, dtype=torch.float16),
        region_mask=torch.empty(size, 0, dtype=torch.bool),
        token_ids=torch.arange(3).expand(size, 3),
        token_mask=torch.tensor([True, True, False]).expand(size, 3),
        image_index=rows,
        caption_index=2 * rows,
        text_group=torch.zeros(size, dtype=torch.int64),
    )


@pytest.mark.parametrize("at_once", [1, 2, 5, 256])
def test_every_image_keeps_its_regions_and_its_mask(tmp_path, array, monkeypatch, at_once):
    monkeypatch.setattr(resident, "_ROWS_AT_ONCE", at_once)
    kept = ResidentFeatures.load(opened(tmp_path, array), CPU)
    assert kept.region_mask.tolist() == MASK
    assert kept.regions.dtype == torch.float16
    np.testing.assert_array_equal(kept.regions, array)


def test_a_batch_gets_the_regions_and_masks_of_its_own_images(tmp_path, array):
    batch = batch_of([3, 0, 3, 2, 4])
    filled = ResidentFeatures.load(opened(tmp_path, array), CPU).fill(batch)
    assert filled.region_mask.tolist() == [MASK[image] for image in (3, 0, 3, 2, 4)]
    np.testing.assert_array_equal(filled.regions, array[[3, 0, 3, 2, 4]])
    for name in set(RegionTextBatch._fields) - {"regions", "region_mask"}:
        assert getattr(filled, name) is getattr(batch, name), name


def test_damage_is_found_as_they_are_loaded(tmp_path, array, monkeypatch):
    monkeypatch.setattr(resident, "_ROWS_AT_ONCE", 2)
    split = opened(tmp_path, array)
    array[4] = 0
    np.save(tmp_path / "train_ims.npy", array)
    with pytest.raises(DataFormatError, match=r"row 4 \(image id '4'\): all 4 regions are zeros"):
        ResidentFeatures.load(split, CPU)


def test_they_are_kept_on_a_gpu_where_they_take_at_most_their_share(tmp_path, array, monkeypatch):
    """5 images of 4 regions of 8 dimensions in float16 are 320 bytes: two fifths of 800."""
    features = opened(tmp_path, array).features
    for free, keep in ((800, True), (799, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**9))
        assert worth_keeping(features, torch.device("cuda", 0)) is keep


def test_a_cpu_reads_them_from_the_file(tmp_path, array, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 10**9))
    assert not worth_keeping(opened(tmp_path, array).features, CPU)
