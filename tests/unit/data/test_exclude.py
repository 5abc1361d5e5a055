"""Training pairs that a person struck out."""

import pytest

from helpers.precomp import write_dataset, write_precomp
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.data.exclude import Excluded, exclude_pairs, read_excluded
from tangka_match.data.split import load_split
from tangka_match.errors import ConfigError, DataFormatError


@pytest.fixture
def split(tmp_path):
    write_precomp(tmp_path, "train", images=4, captions_per_image=[1, 3, 2, 1], ids="caption")
    return load_split(tmp_path, "train")


def read(text, tmp_path, split):
    file = tmp_path / "struck_out.txt"
    file.write_text(text, encoding="utf-8")
    return read_excluded(file, split)


def test_captions_and_whole_images_are_removed(split, tmp_path):
    kept = exclude_pairs(split, read("train-0001\t2\ntrain-0002\n", tmp_path, split))
    assert kept.captions == tuple(split.captions[caption] for caption in (0, 1, 3, 6))
    assert kept.image_ids == ("train-0000", "train-0001", "train-0003")
    assert kept.caption_to_image.tolist() == [0, 1, 1, 2]
    assert kept.fingerprint != split.fingerprint
    assert kept.features.origin(2) == split.features.origin(3)


def test_image_without_captions_is_removed(split, tmp_path):
    kept = exclude_pairs(split, read("train-0002\t1\ntrain-0002\t2", tmp_path, split))
    assert kept.image_ids == ("train-0000", "train-0001", "train-0003")


def test_nothing_to_remove_returns_the_split(split):
    assert exclude_pairs(split, {Excluded("of another split", None)}) is split


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train-0009", r"line 2 names the image 'train-0009', .* the 4 image ids 'train-0000' … 'train-0003'"),
        ("train-0001\t4", r"line 2 names caption '4' of the image 'train-0001'; allowed: 1 … 3"),
        ("train-0001\t0", r"line 2 names caption '0'"),
        ("train-0001\tb", r"line 2 names caption 'b'"),
    ],
)
def test_unknown_pair_is_an_error(split, tmp_path, line, message):
    with pytest.raises(DataFormatError, match=rf"struck_out.txt: {message}"):
        read(f"train-0000\n{line}\n", tmp_path, split)


def test_missing_file(split, tmp_path):
    with pytest.raises(ConfigError, match=r"data.exclude=.*absent.txt: no such file"):
        read_excluded(tmp_path / "absent.txt", split)


def test_all_pairs_excluded(split, tmp_path):
    with pytest.raises(ConfigError, match="all 7 training pairs are excluded"):
        exclude_pairs(split, read("\n".join(split.image_ids), tmp_path, split))


def test_data_module_trains_without_the_pairs(tmp_path):
    root = write_dataset(tmp_path / "set", train=12, val=5)
    (tmp_path / "struck_out.txt").write_text("3\n7\n", encoding="utf-8")
    data = RegionTextDataModule(str(root), batch_size=4, exclude=str(tmp_path / "struck_out.txt"))
    data.setup("fit")
    assert data.train.num_images == 10
    assert not {"3", "7"} & set(data.train.image_ids)
    assert {"3"} <= set(data.val.image_ids)  # ids of the training split only


def test_list_of_a_cross_validation_is_read_without_folds(tmp_path):
    """It names images of both splits; those of val are not trained on anyway."""
    root = write_dataset(tmp_path / "set", train=12, val=5)
    (tmp_path / "struck_out.txt").write_text("train:3\nval:2\n7\n", encoding="utf-8")
    data = RegionTextDataModule(str(root), batch_size=4, exclude=str(tmp_path / "struck_out.txt"))
    data.setup("fit")
    assert data.train.image_ids == tuple(str(n) for n in range(12) if n not in (3, 7))
    assert data.val.num_images == 5


def test_only_the_training_part_of_a_fold_is_reduced(tmp_path):
    root = write_dataset(tmp_path / "set", train=12, val=5)
    # All captions differ, so that the groups are small.
    for stem, count in (("train", 12), ("dev", 5)):
        lines = [f"{stem}{number}\n" for number in range(count)]
        (root / f"{stem}_caps.txt").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "struck_out.txt").write_text("".join(f"train:{n}\n" for n in range(9)), encoding="utf-8")
    parts = []
    for exclude in (None, str(tmp_path / "struck_out.txt")):
        data = RegionTextDataModule(str(root), batch_size=1, folds=2, fold=0, fold_val_share=0.4, exclude=exclude)
        data.setup("fit")
        parts.append(data)
    plain, reduced = parts
    struck_out = {f"train:{n}" for n in range(9)}
    assert set(reduced.train.image_ids) == set(plain.train.image_ids) - struck_out != set(plain.train.image_ids)
    assert reduced.held_out.image_ids == plain.held_out.image_ids
    assert struck_out & set(reduced.held_out.image_ids)
