import numpy as np
import pytest

from helpers.precomp import write_dataset, write_precomp
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.data.split import load_split
from tangka_match.data.subset import take_share
from tangka_match.errors import ConfigError


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    write_precomp(root, images=40, captions_per_image=3)
    return load_split(root, "train")


def texts_of(split):
    """What each kept image is paired with, by its id."""
    pairs = {}
    for text, image in zip(split.captions, split.caption_to_image, strict=True):
        pairs.setdefault(split.image_ids[image], []).append(text)
    return pairs


@pytest.mark.parametrize(("share", "images"), [(0.25, 10), (0.5, 20), (0.76, 30), (0.001, 1)])
def test_images_keep_their_captions_and_features(split, share, images):
    part = take_share(split, share, seed=0)
    assert (part.num_images, part.num_captions, part.features.num_images) == (images, 3 * images, images)
    whole = texts_of(split)
    assert texts_of(part) == {name: whole[name] for name in part.image_ids}
    rows = [split.image_ids.index(name) for name in part.image_ids]
    assert rows == sorted(rows)
    np.testing.assert_array_equal(part.features.read(np.arange(images)), split.features.read(np.array(rows)))


def test_smaller_shares_are_parts_of_larger_ones_and_seeds_draw_others(split):
    ids = [set(take_share(split, share, seed=3).image_ids) for share in (0.25, 0.5, 0.75)]
    assert ids[0] < ids[1] < ids[2] < set(split.image_ids)
    assert set(take_share(split, 0.25, seed=4).image_ids) != ids[0]
    assert set(take_share(split, 0.25, seed=3).image_ids) == ids[0]


def test_the_whole_is_the_split_itself_and_a_part_has_a_fingerprint_of_its_own(split):
    assert take_share(split, 1.0, seed=0) is split
    prints = {take_share(split, 0.5, seed).fingerprint for seed in (0, 0, 1)} | {split.fingerprint}
    assert len(prints) == 3


def test_rows_repeated_once_a_caption_and_boxes(tmp_path):
    write_precomp(tmp_path, images=8, captions_per_image=2, repeat_rows=True, boxes=True)
    whole = load_split(tmp_path, "train")
    part = take_share(whole, 0.5, seed=0)
    rows = np.array([whole.image_ids.index(name) for name in part.image_ids])
    np.testing.assert_array_equal(part.features.read(np.arange(4)), whole.features.read(rows))
    np.testing.assert_array_equal(part.boxes, whole.boxes[rows])


def test_a_vocabulary_comes_from_the_kept_captions_and_batches_from_the_kept_pairs(tmp_path):
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
def test_exception_share(tmp_path, share):
    with pytest.raises(ConfigError, match=rf"data.train_share={share}; allowed: above 0"):
        RegionTextDataModule(str(tmp_path), train_share=share)
