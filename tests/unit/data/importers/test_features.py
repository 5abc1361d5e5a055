"""Every array format, recognised by content; features are compared with what numpy or h5py wrote."""

import json
import pickle
import sys

import numpy as np
import pytest

from helpers.foreign_files import IMAGES, make_boxes, make_regions, write_bottom_up
from tangka_match.data.importers.features import open_features
from tangka_match.errors import ConfigError, DataFormatError

RNG = np.random.default_rng(1)
ARRAY = RNG.normal(size=(5, 3, 8)).astype(np.float32)
BOXES = np.tile(np.array([0, 0, 100, 50], dtype=np.float32), (5, 3, 1))


@pytest.fixture
def read(tmp_path):
    """Return a function that opens paths and returns the source and the regions of all its images."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def open_and_read(*paths, axis="auto"):
        source = open_features(paths, axis, lambda: scratch)
        found = list(source.read(np.arange(len(source.counts))))
        assert [each.image for each in found] == list(range(len(source.counts)))
        assert all(each.regions.shape == (n, source.dim) for each, n in zip(found, source.counts, strict=True))
        return source, found

    return open_and_read


def stacked(found):
    return np.stack([each.regions for each in found])


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (ARRAY, ARRAY),
        (ARRAY.astype(np.float64), ARRAY),
        (ARRAY.astype(">f4"), ARRAY),
        (np.asfortranarray(ARRAY), ARRAY),
        (ARRAY[:, 0], ARRAY[:, :1]),
        (ARRAY[:, None], ARRAY),
    ],
    ids=["float32", "float64", "big-endian", "fortran", "one-vector", "axis-of-one"],
)
@pytest.mark.parametrize("suffix", ["npy", "npz", "packed.npz"])
def test_array_of_a_split(tmp_path, read, stored, expected, suffix):
    path = tmp_path / f"train.{suffix}"
    save = {"npy": np.save, "npz": np.savez, "packed.npz": np.savez_compressed}[suffix]
    save(path, stored)
    source, found = read(path)
    assert source.ids is None
    np.testing.assert_array_equal(stacked(found), expected)


def test_grid_is_flattened_row_by_row(tmp_path, read):
    grid = RNG.normal(size=(2, 3, 4, 300)).astype(np.float32)
    np.save(tmp_path / "last.npy", grid)
    np.save(tmp_path / "first.npy", np.moveaxis(grid, -1, 1))
    for name in ("last", "first"):
        source, found = read(tmp_path / f"{name}.npy")
        assert (source.counts.tolist(), source.dim) == ([12, 12], 300)
        np.testing.assert_array_equal(found[1].regions[5], grid[1, 1, 1])


def test_feature_first_is_recognised_or_set(tmp_path, read):
    wide = RNG.normal(size=(2, 300, 3)).astype(np.float32)
    np.save(tmp_path / "wide.npy", wide)
    np.testing.assert_array_equal(stacked(read(tmp_path / "wide.npy")[1]), wide.transpose(0, 2, 1))
    np.save(tmp_path / "small.npy", ARRAY)
    assert read(tmp_path / "small.npy", axis="first")[0].dim == 3
    np.testing.assert_array_equal(stacked(read(tmp_path / "wide.npy", axis="last")[1]), wide)


def test_ids_and_boxes_beside_or_inside(tmp_path, read):
    np.save(tmp_path / "train_ims.npy", ARRAY)
    np.save(tmp_path / "train_boxes.npy", BOXES / 100)
    (tmp_path / "train_ids.txt").write_text("a\nb\nc\nd\ne\n", "utf-8")
    source, found = read(tmp_path / "train_ims.npy")
    assert list(source.ids) == list("abcde")
    assert found[3].boxes[2].tolist() == [0, 0, 1, 0.5]
    sizes = {"image_w": np.full(5, 200), "image_h": np.full(5, 100)}
    np.savez(tmp_path / "b.npz", features=ARRAY, ids=np.array(list("vwxyz")), bbox=BOXES, **sizes)
    source, found = read(tmp_path / "b.npz")
    assert list(source.ids) == list("vwxyz")
    assert found[3].boxes[2].tolist() == [0, 0, 0.5, 0.5]
    np.savez(tmp_path / "c.npz", features=ARRAY, bbox=BOXES)
    assert read(tmp_path / "c.npz")[1][0].boxes is None  # pixels, and no size of the image


def test_selected_images_are_read(tmp_path, read):
    np.save(tmp_path / "a.npy", ARRAY)
    source, _ = read(tmp_path / "a.npy")
    np.testing.assert_array_equal(stacked(source.read(np.array([1, 2, 4]))), ARRAY[[1, 2, 4]])


def test_several_files_follow_each_other(tmp_path, read):
    for name, part in (("train", ARRAY[:3]), ("test", ARRAY[3:])):
        np.save(tmp_path / f"{name}.npy", part)
    source, found = read(tmp_path / "train.npy", tmp_path / "test.npy")
    assert len(source.counts) == 5
    np.testing.assert_array_equal(stacked(found), ARRAY)
    np.testing.assert_array_equal(stacked(source.read(np.array([1, 4]))), ARRAY[[1, 4]])


def test_folder_of_shards(tmp_path, read):
    folder = tmp_path / "feats"
    folder.mkdir()
    regions = make_regions((2, 3))
    for name, at in (("a", 0), ("b", 1)):
        write_bottom_up(folder / f"{name}.tsv", [name], [regions[at]], make_boxes([len(regions[at])]))
    source, found = read(folder)
    assert (source.ids, source.counts.tolist()) == (["a", "b"], [2, 3])
    np.testing.assert_array_equal(found[1].regions, regions[1])


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_folder_with_one_file_per_image(tmp_path, read, suffix):
    """Pythia: <id>.npy beside a pickled <id>_info.npy; bottom-up-attention.pytorch: x, bbox, image_w, image_h, info."""
    regions = make_regions((2, 4, 3), dim=300)
    info = np.array({"objects": []}, dtype=object)
    (tmp_path / "f" / "val").mkdir(parents=True)
    for name, array in zip(("1", "val/2", "3"), regions, strict=True):
        if suffix == "npy":
            np.save(tmp_path / "f" / f"{name}.npy", array)
            (tmp_path / "f" / "captions.tsv").write_text("1\t狗\n", "utf-8")  # not features
            np.save(tmp_path / "f" / f"{name}_info.npy", info, allow_pickle=True)
        else:
            about = {"image_w": 200, "image_h": 100, "num_bbox": len(array), "info": info}
            np.savez_compressed(tmp_path / "f" / f"{name}.npz", x=array.T, bbox=make_boxes([len(array)])[0], **about)
    source, found = read(tmp_path / "f")
    assert (list(source.ids), source.counts.tolist()) == (["1", "3", "val/2"], [2, 3, 4])
    np.testing.assert_array_equal(found[2].regions, regions[1])
    if suffix == "npz":
        np.testing.assert_allclose(found[2].boxes[3], [0, 0, 0.4, 0.4], atol=1e-6)


def test_npz_with_one_array_per_image(tmp_path, read):
    regions = make_regions((2, 4))
    np.savez(tmp_path / "all.npz", **dict(zip(IMAGES, regions, strict=False)))
    source, found = read(tmp_path / "all.npz")
    assert (list(source.ids), source.counts.tolist()) == (list(IMAGES[:2]), [2, 4])
    np.testing.assert_array_equal(found[1].regions, regions[1])


class TestHdf5:
    @pytest.fixture
    def h5py(self):
        return pytest.importorskip("h5py")

    def test_one_dataset_with_ids(self, tmp_path, read, h5py):
        with h5py.File(tmp_path / "a.hdf5", "w") as file:
            file["features"], file["boxes"] = ARRAY, BOXES / 100
            file["image_ids"] = np.array([b"a", b"b", b"c", b"d", b"e"])
        source, found = read(tmp_path / "a.hdf5")
        assert list(source.ids) == list("abcde")
        np.testing.assert_array_equal(stacked(found), ARRAY)
        assert found[0].boxes[0].tolist() == [0, 0, 1, 0.5]

    def test_boxes_of_all_images_with_their_places(self, tmp_path, read, h5py):
        """bottom-up-attention-vqa, adaptive: image_features (boxes, F), pos_boxes (N, 2)."""
        regions = make_regions((2, 5, 1))
        with h5py.File(tmp_path / "trainval.hdf5", "w") as file:
            file["image_features"], file["pos_boxes"] = np.concatenate(regions), np.array([[0, 2], [2, 7], [7, 8]])
        (tmp_path / "trainval_ids.txt").write_text("x\ny\nz\n", "utf-8")
        source, found = read(tmp_path / "trainval.hdf5")
        assert (list(source.ids), source.counts.tolist()) == (["x", "y", "z"], [2, 5, 1])
        np.testing.assert_array_equal(found[1].regions, regions[1])

    @pytest.mark.parametrize("grouped", [False, True])
    def test_one_dataset_per_image(self, tmp_path, read, h5py, grouped):
        regions = make_regions((2, 5))
        with h5py.File(tmp_path / "a.h5", "w") as file:
            for name, array in zip(("a.jpg", "b.jpg"), regions, strict=True):
                file[f"{name}/features" if grouped else name] = array
        source, found = read(tmp_path / "a.h5")
        assert (list(source.ids), source.counts.tolist()) == (["a.jpg", "b.jpg"], [2, 5])
        np.testing.assert_array_equal(found[1].regions, regions[1])

    def test_missing_package_is_named(self, tmp_path, read, h5py, monkeypatch):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["features"] = ARRAY
        monkeypatch.setitem(sys.modules, "h5py", None)
        with pytest.raises(ConfigError, match=r"pip install 'tangka-match\[hdf5\]'"):
            read(tmp_path / "a.h5")


def write_ragged(path):
    ragged = np.empty(2, dtype=object)
    ragged[:] = make_regions((2, 3))
    np.save(path, ragged, allow_pickle=True)


def write_truncated(path):
    np.save(path, ARRAY)
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_ragged, "never unpickled.*padded with zeros"),
        (write_truncated, "bytes found, .* expected from its header"),
        (lambda path: np.save(path, ARRAY.astype(int)), "dtype int64; features must be floats"),
        (lambda path: np.save(path, ARRAY[0, 0]), r"shape \(8,\); allowed"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "looks like a pickle"),
        (lambda path: path.write_text("a\tb\n", "utf-8"), "its first line has 2 fields, a bottom-up-attention TSV has"),
        (lambda path: path.write_text(json.dumps({}), "utf-8"), "the format is not known; allowed: .npy, .npz, HDF5"),
        (lambda path: None, "no such file or folder"),
        (lambda path: path.mkdir(), "no .npy, .npz, .tsv or HDF5 files there"),
    ],
)
def test_other_files_are_refused(tmp_path, read, write, message):
    write(tmp_path / "a.npy")
    with pytest.raises((ConfigError, DataFormatError), match=message):
        read(tmp_path / "a.npy")


def test_features_that_cannot_be_told_from_other_arrays(tmp_path, read):
    np.savez(tmp_path / "a.npz", ids=np.array(list("abcde")), bbox=BOXES, other=ARRAY.astype(int))
    with pytest.raises(DataFormatError, match=r"no array is called features, .*\(found: ids, bbox, other\)"):
        read(tmp_path / "a.npz")


def test_ids_must_fit(tmp_path, read):
    np.savez(tmp_path / "a.npz", features=ARRAY, ids=np.array(["a"]))
    with pytest.raises(DataFormatError, match="5 images and 1 ids"):
        read(tmp_path / "a.npz")


def test_files_of_two_extractions_are_refused(tmp_path, read):
    np.save(tmp_path / "a.npy", ARRAY)
    np.save(tmp_path / "b.npy", ARRAY[..., :4])
    with pytest.raises(DataFormatError, match=r"b.npy and .*a.npy differ in their dimensions per region \(4 and 8\)"):
        read(tmp_path / "a.npy", tmp_path / "b.npy")
