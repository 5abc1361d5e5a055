"""Cross-validation by image: every image in one part, near-duplicates together, independent of the run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.planted import planted_split
from helpers.precomp import write_dataset, write_precomp
from tangka_match.data import folds as module
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.data.folds import assign_folds, check_folds, choose_validation, group_images, open_fold, pool_splits
from tangka_match.data.split import load_split
from tangka_match.errors import ConfigError

GROUPINGS = st.integers(4, 60).flatmap(
    lambda images: st.lists(st.integers(0, images - 1), min_size=images, max_size=images).map(np.array)
)


def ids_of(groups):
    return [f"image-{number}" for number in range(len(groups))]


@given(GROUPINGS, st.integers(2, 9))
def test_groups_stay_in_one_fold_and_folds_are_balanced(groups, folds):
    fold_of = assign_folds(groups, ids_of(groups), folds)
    assert set(fold_of.tolist()) <= set(range(folds))
    assert all(len(set(fold_of[groups == group].tolist())) == 1 for group in set(groups.tolist()))
    sizes = np.bincount(fold_of, minlength=folds)
    assert sizes.max() - sizes.min() <= np.bincount(groups).max()


@given(GROUPINGS, st.integers(2, 9), st.randoms(use_true_random=False))
def test_fold_of_an_image_does_not_depend_on_the_order_of_the_files(groups, folds, random):
    order = list(range(len(groups)))
    random.shuffle(order)
    names = ids_of(groups)
    straight = assign_folds(groups, names, folds)
    shuffled = assign_folds(groups[order], [names[image] for image in order], folds)
    assert shuffled.tolist() == straight[order].tolist()


@given(GROUPINGS, st.floats(0.01, 0.5))
def test_validation_takes_whole_groups_up_to_its_share(groups, share):
    chosen = choose_validation(groups, ids_of(groups), share)
    assert all(len(set(chosen[groups == group].tolist())) == 1 for group in set(groups.tolist()))
    assert chosen.sum() <= max(2, round(share * len(groups)))


def test_folds_of_equal_groups_look_random():
    fold_of = assign_folds(np.arange(900), ids_of(range(900)), 9)
    assert np.bincount(fold_of).tolist() == [100] * 9
    assert (np.diff(fold_of) == 1).mean() < 0.3  # not dealt in the order of the file


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path / "set", train=40, val=12, captions_per_image=2)


def pool_of(root):
    return pool_splits(load_split(root, "train"), load_split(root, "val"))


def names(split):
    return set(split.image_ids)


def test_every_image_is_held_out_once_and_parts_are_disjoint(root, monkeypatch):
    monkeypatch.setattr(module, "group_images", lambda pool: np.arange(pool.num_images))
    pool = pool_of(root)
    opened = [open_fold(pool, 4, fold, 0.2) for fold in range(4)]
    assert sorted(name for parts in opened for name in parts.held_out.image_ids) == sorted(pool.image_ids)
    for parts in opened:
        assert sum(len(names(part)) for part in parts) == pool.num_images
        assert names(parts.train) | names(parts.val) | names(parts.held_out) == names(pool)
        assert [part.num_images for part in parts] == [31, 8, 13]
        assert all(part.num_captions == 2 * part.num_images for part in parts)


def test_pairs_of_a_fold_are_those_of_the_files(root, monkeypatch):
    monkeypatch.setattr(module, "group_images", lambda pool: np.arange(pool.num_images))
    splits = {name: load_split(root, name) for name in ("train", "val")}
    held_out = open_fold(pool_of(root), 4, 1, 0.2).held_out
    assert {name.partition(":")[0] for name in held_out.image_ids} == {"train", "val"}
    for caption, image in enumerate(held_out.caption_to_image.tolist()):
        split, _, row = held_out.image_ids[image].partition(":")
        source = splits[split]
        assert held_out.captions[caption] in source.captions[2 * int(row) : 2 * int(row) + 2]
        features = [part.features.read(np.array([index])) for part, index in ((held_out, image), (source, int(row)))]
        assert np.array_equal(*features)


def test_ids_get_the_name_of_their_split_only_if_they_collide(tmp_path):
    for split in ("train", "val"):
        write_precomp(tmp_path / "own", split, ids="image")
        write_precomp(tmp_path / "none", split)
    assert pool_of(tmp_path / "own").image_ids[5:7] == ("train-0005", "dev-0000")
    assert pool_of(tmp_path / "none").image_ids[5:7] == ("train:5", "val:0")


def test_near_duplicates_and_equal_captions_are_one_group(tmp_path):
    def change(features):
        features[40] = features[3][::-1]  # the same regions in another order
        features[41] = features[5] + 0.02 * np.random.default_rng(1).normal(size=features[5].shape)

    split = planted_split(tmp_path, "train", change=change)
    captions = list(split.captions)
    captions[50] = captions[20] + " 。"  # differs in punctuation only
    (tmp_path / "train_caps.txt").write_text("".join(f"{text}\n" for text in captions), encoding="utf-8")
    groups = group_images(load_split(tmp_path, "train"))
    assert groups[40] == groups[3]
    assert groups[41] == groups[5]
    assert groups[50] == groups[20]
    assert len({int(groups[image]) for image in (3, 5, 20, 59)}) == 4


def test_groups_are_read_again_and_not_searched_again(tmp_path, monkeypatch):
    split = planted_split(tmp_path, "train")
    found = group_images(split)
    monkeypatch.setattr(module, "find_groups", lambda pool: pytest.fail("searched again"))
    assert group_images(split).tolist() == found.tolist()


def test_damaged_file_of_groups_is_replaced(tmp_path):
    split = planted_split(tmp_path, "train")
    found = group_images(split)
    (file,) = tmp_path.glob("near_duplicates_*.npy")
    file.write_bytes(b"damaged")
    assert group_images(split).tolist() == found.tolist()
    assert np.load(file).tolist() == found.tolist()


def module_of(root, **settings):
    data = RegionTextDataModule(str(root), batch_size=4, folds=3, **settings)
    data.setup("fit")
    return data


def test_fold_does_not_depend_on_the_seed_of_the_run(tmp_path):
    for number, split in enumerate(("train", "val")):
        planted_split(tmp_path, split, images=30, seed=number)
    one, other = (module_of(tmp_path, fold=1, seed=seed) for seed in (0, 1))
    assert one.fingerprint == other.fingerprint
    assert one.held_out.image_ids == other.held_out.image_ids
    assert one.fingerprint != module_of(tmp_path, fold=2).fingerprint


def test_data_module_trains_on_the_other_folds(tmp_path):
    for number, split in enumerate(("train", "val")):
        planted_split(tmp_path, split, images=30, seed=number)
    data = module_of(tmp_path, fold=0, train_share=0.5)
    whole = module_of(tmp_path, fold=0)
    assert names(data.train) < names(whole.train)
    assert names(whole.train) | names(whole.val) | names(whole.held_out) == names(pool_of(tmp_path))
    images = sum(len(batch.regions) for batch in whole.held_out_dataloader()[0])
    assert images == whole.held_out.num_images
    assert f"held out {whole.held_out.num_captions} of {images}" in whole.summary


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((1, 0, 0.1), "data.folds=1 must be >= 2"),
        ((3, 3, 0.1), r"data.fold=3 must be in 0 … 2, .* 'data.fold=range\(3\)'"),
        ((3, -1, 0.1), "data.fold=-1 must be in 0 … 2"),
        ((3, None, 0.1), "data.fold=None must be in 0 … 2"),
        ((None, 2, 0.1), "data.fold=2 needs data.folds="),
        ((3, 0, 0.6), r"data.fold_val_share=0.6 must be in \(0, 0.5\]"),
        ((3, 0, 0.0), "data.fold_val_share=0.0 must be in"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        check_folds(*settings)


def test_more_folds_than_images(root):
    with pytest.raises(ConfigError, match=r"data.folds=27: train and val have 52 images.* at most 26"):
        open_fold(pool_of(root), 27, 0, 0.1)


def test_one_group_is_larger_than_the_folds(root, monkeypatch):
    monkeypatch.setattr(module, "group_images", lambda pool: np.zeros(pool.num_images, np.int64))
    with pytest.raises(ConfigError, match=r"smallest fold would have 0 images.* largest group has 52 of 52"):
        open_fold(pool_of(root), 2, 0, 0.1)


def test_no_group_fits_into_the_validation_part(root, monkeypatch):
    monkeypatch.setattr(module, "group_images", lambda pool: np.arange(pool.num_images) // 13 * 13)
    with pytest.raises(ConfigError, match=r"data.fold_val_share=0.05 gives 0 validation images of 39"):
        open_fold(pool_of(root), 4, 0, 0.05)
