import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.precomp import write_precomp
from tangka_match.data.features import SAMPLED_ROWS, RegionFeatures
from tangka_match.errors import DataFormatError


def save(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_properties_and_reading(tmp_path, dtype):
    written = write_precomp(tmp_path, images=5, regions=3, dim=7, dtype=dtype)
    features = RegionFeatures.open(written.path("_ims.npy"))
    assert (features.num_images, features.num_rows, features.num_regions, features.feature_dim) == (5, 5, 3, 7)
    assert features.dtype == dtype
    batch = features.read(np.array([4, 0, 4]))
    assert batch.dtype == dtype
    np.testing.assert_array_equal(batch, written.features[[4, 0, 4]])


def test_read_returns_a_writable_copy(tmp_path):
    """Torch does not accept read-only memory, and writing to a batch must not change the file."""
    written = write_precomp(tmp_path)
    features = RegionFeatures.open(written.path("_ims.npy"))
    features.read(np.array([0]))[:] = 7
    np.testing.assert_array_equal(features.read(np.array([0])), written.features[:1])


def test_row_map_selects_rows_of_the_file(tmp_path):
    written = write_precomp(tmp_path, images=6)
    features = RegionFeatures.open(written.path("_ims.npy")).with_row_map(np.array([0, 2, 4]))
    assert (features.num_images, features.num_rows) == (3, 6)
    np.testing.assert_array_equal(features.read(np.array([2, 1])), written.features[[4, 2]])


def test_set_larger_than_memory(tmp_path):
    """A sparse file of 200 GB, which must never be read completely."""
    path = tmp_path / "train_ims.npy"
    shape = (1_400_000, 36, 2048)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        begin = file.tell()
        file.truncate(begin + 2 * int(np.prod(shape, dtype=np.int64)))
        file.seek(begin + 2 * 1_399_999 * 36 * 2048)
        file.write(np.float16(3).tobytes())
    features = RegionFeatures.open(path)
    assert features.read(np.array([1_399_999, 5]))[:, 0, 0].tolist() == [3, 0]
    assert len(features.fingerprint()) == 16


def test_pickle_contains_no_features(tmp_path):
    written = write_precomp(tmp_path, images=40, regions=36, dim=64)
    features = RegionFeatures.open(written.path("_ims.npy"))
    features.read(np.array([0]))
    pickled = pickle.dumps(features)
    assert len(pickled) < 2_000
    np.testing.assert_array_equal(pickle.loads(pickled).read(np.arange(40)), written.features)


def test_relative_path_still_works_in_another_folder(tmp_path, monkeypatch):
    written = write_precomp(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    features = RegionFeatures.open("set/train_ims.npy")
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(features.read(np.array([1])), written.features[[1]])


def test_fingerprint_is_equal_for_copies_only(tmp_path):
    path = write_precomp(tmp_path, seed=1).path("_ims.npy")
    copy = shutil.copy(path, tmp_path / "copy.npy")
    other = write_precomp(tmp_path, "other", seed=2).path("_ims.npy")
    first, second, third = (RegionFeatures.open(p).fingerprint() for p in (path, copy, other))
    assert first == second != third


def test_fingerprint_is_the_same_on_every_machine(tmp_path):
    path = save(tmp_path / "a.npy", np.arange(1, 25, dtype="<f2").reshape(3, 2, 4))
    assert RegionFeatures.open(path).fingerprint() == "4c1b6db7bf50a0c4"


def test_fingerprint_depends_on_the_sampled_images(tmp_path):
    array = np.ones((1000, 2, 3), np.float16)
    features = RegionFeatures.open(save(tmp_path / "a.npy", array))
    sample = features.sample_indices()
    assert len(sample) == SAMPLED_ROWS
    assert (sample[0], sample[-1]) == (0, 999)
    before = features.fingerprint()
    array[sample[5]] = 2
    assert RegionFeatures.open(save(tmp_path / "b.npy", array)).fingerprint() != before


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((4, 8), np.float16),
            r"found shape \(4, 8\)\. One vector per image: np\.save\(path, array\[:, None\]\)",
        ),
        (np.zeros((4, 2, 8), np.float64), r"found dtype <f8\. Convert with"),
        (np.zeros((4, 2, 8), np.int16), r"dtype <i2"),
        (np.zeros((0, 2, 8), np.float16), r"shape \(0, 2, 8\) is empty"),
        (np.zeros((4, 0, 8), np.float16), r"shape \(4, 0, 8\) is empty"),
    ],
)
def test_arrays_that_are_not_region_features(tmp_path, array, message):
    path = save(tmp_path / "train_ims.npy", array)
    with pytest.raises(DataFormatError, match=rf"{path}: .*{message}"):
        RegionFeatures.open(path)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells which pages are resident")
def test_released_pages_leave_memory_and_can_be_read_again(tmp_path):
    path = tmp_path / "train_ims.npy"
    array = np.random.default_rng(0).random((64, 36, 128), dtype=np.float32)
    np.save(path, array)
    features = RegionFeatures.open(path)

    def resident():
        entry = Path("/proc/self/smaps").read_text("utf-8").split(str(path))[1]
        return int(re.search(r"Rss:\s+(\d+) kB", entry)[1])

    features.read(np.arange(64))
    assert resident() >= array.nbytes // 1024
    features.release()
    assert resident() == 0
    np.testing.assert_array_equal(features.read(np.arange(64)), array)
