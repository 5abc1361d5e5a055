import pytest

from helpers.precomp import write_precomp
from tangka_match.data.layout import available_splits, find_split, find_thumbnail
from tangka_match.errors import DataFormatError


def test_find_split(tmp_path):
    write_precomp(tmp_path, "train", ids="image", boxes=True)
    files = find_split(tmp_path, "train")
    assert files.split == "train"
    found = [path and path.name for path in (files.features, files.captions, files.ids, files.boxes)]
    assert found == ["train_ims.npy", "train_caps.txt", "train_ids.txt", "train_boxes.npy"]


def test_ids_and_boxes_are_optional(tmp_path):
    write_precomp(tmp_path, "test5")
    files = find_split(tmp_path, "test5")
    assert (files.ids, files.boxes) == (None, None)


def test_val_prefers_dev_files(tmp_path):
    write_precomp(tmp_path, "val")
    for suffix in ("_ims.npy", "_caps.txt"):
        (tmp_path / f"dev{suffix}").rename(tmp_path / f"val{suffix}")
    assert find_split(tmp_path, "val").features.name == "val_ims.npy"
    write_precomp(tmp_path, "val")
    assert find_split(tmp_path, "val").features.name == "dev_ims.npy"


def test_available_splits_use_the_project_names(tmp_path):
    for split in ("train", "val", "test5"):
        write_precomp(tmp_path, split)
    assert available_splits(tmp_path) == ["test5", "train", "val"]


def test_missing_root_is_reported(tmp_path):
    with pytest.raises(DataFormatError, match=rf"found nothing at {tmp_path / 'no'}.*train_ims\.npy"):
        find_split(tmp_path / "no", "train")


def test_root_that_is_a_file_is_reported(tmp_path):
    (tmp_path / "set.zip").touch()
    with pytest.raises(DataFormatError, match=rf"found a file at {tmp_path / 'set.zip'}"):
        find_split(tmp_path / "set.zip", "train")


def test_missing_split_lists_the_existing_ones(tmp_path):
    write_precomp(tmp_path, "train")
    write_precomp(tmp_path, "test5")
    with pytest.raises(
        DataFormatError, match=rf"'val'.*{tmp_path}/dev_ims\.npy or .*val_ims\.npy; .*: test5, train\. "
    ):
        find_split(tmp_path, "val")


def test_missing_split_in_an_empty_folder(tmp_path):
    with pytest.raises(DataFormatError, match=r"'train'.*found in this folder: none"):
        find_split(tmp_path, "train")


def test_missing_captions_are_reported(tmp_path):
    write_precomp(tmp_path, "train").path("_caps.txt").unlink()
    with pytest.raises(DataFormatError, match=rf"'train'.*{tmp_path}/train_caps\.txt is missing"):
        find_split(tmp_path, "train")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "thumbnails").mkdir()
    for name in ("a.png", "唐卡-1.jpg", "b.JPG", "c.txt"):
        (tmp_path / "thumbnails" / name).touch()
    (tmp_path / "secret.png").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("image_id", "name"),
    [("a", "a.png"), ("a.png", "a.png"), ("唐卡-1", "唐卡-1.jpg"), ("b.JPG", "b.JPG"), ("c.txt", None), ("d", None)],
)
def test_find_thumbnail(root, image_id, name):
    assert find_thumbnail(root, image_id) == (None if name is None else root / "thumbnails" / name)


@pytest.mark.parametrize("image_id", ["../secret", "/etc/passwd", "..", "", "x/../../secret"])
def test_no_id_finds_a_file_outside_the_folder(root, image_id):
    assert find_thumbnail(root, image_id) is None


def test_set_without_thumbnails(tmp_path):
    assert find_thumbnail(tmp_path, "a") is None


def test_id_too_long_for_a_file_name_has_no_thumbnail(root):
    assert find_thumbnail(root, "唐卡" * 50) is None


def test_files_of_other_programs_are_named_with_the_way_to_read_them(tmp_path):
    (tmp_path / "trainval.tsv").write_bytes(b"")
    with pytest.raises(DataFormatError, match=rf"tangka_match.prepare features={tmp_path}/trainval.tsv captions="):
        find_split(tmp_path / "trainval.tsv", "train")
    with pytest.raises(DataFormatError, match=rf"no features: .*prepare features={tmp_path}/trainval.tsv captions="):
        find_split(tmp_path, "train")
