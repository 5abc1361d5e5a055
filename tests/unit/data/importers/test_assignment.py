import numpy as np
import pytest

from tangka_match.data.importers.assignment import draw, from_captions, from_id_lists, wanted_sizes
from tangka_match.data.importers.caption_text import CaptionedImage
from tangka_match.errors import ConfigError, DataFormatError

IMAGES = [CaptionedImage((f"x/{name}.jpg",), ("狗",), None) for name in "abcd"]


def test_captions_without_splits_say_how_to_get_some():
    with pytest.raises(ConfigError, match=r"draw the splits with splits='\[0.8,0.1,0.1\]'"):
        from_captions(IMAGES)


def test_id_lists(tmp_path):
    """Flickr_8k.trainImages.txt and its like: one file name per line."""
    (tmp_path / "train.txt").write_text("b.jpg\na.jpg\n", "utf-8")
    (tmp_path / "dev.txt").write_text("d.jpg\n", "utf-8")
    lists = {"train": tmp_path / "train.txt", "dev": tmp_path / "dev.txt"}
    assert from_id_lists(lists, IMAGES) == ["train", "train", None, "val"]
    (tmp_path / "dev.txt").write_text("d.jpg\na.jpg\n", "utf-8")
    with pytest.raises(DataFormatError, match=r"image 'a.jpg' is listed for train and for val"):
        from_id_lists(lists, IMAGES)
    (tmp_path / "dev.txt").write_text("e.jpg\n", "utf-8")
    with pytest.raises(DataFormatError, match=r"1 of 3 listed images have no captions, such as 'e.jpg'"):
        from_id_lists(lists, IMAGES)


@pytest.mark.parametrize(
    ("numbers", "sizes"),
    [
        ([0.8, 0.1, 0.1], [80, 10, 10]),
        ([0.9, 0.1], [90, 10]),
        ([50, 20, 20], [50, 20, 20]),
        ([0.98, 0.01, 0.01], [96, 2, 2]),
    ],
)
def test_sizes(numbers, sizes):
    assert wanted_sizes(numbers, 100) == sizes


@pytest.mark.parametrize("numbers", [[0.8], [0.8, 0.3], [0.5, 0.5, 0], [90, 20], [1.5, 3], [99, 1], [1, 2, 3, 4]])
def test_impossible_sizes(numbers):
    with pytest.raises(ConfigError, match=r"^splits="):
        wanted_sizes(numbers, 100)


def test_groups_stay_together_and_sizes_are_exact():
    groups = np.arange(200)
    groups[:40] = np.arange(40) // 4 * 4  # ten groups of four
    drawn = np.array(draw(groups, [160, 20, 20], seed=3))
    assert [(drawn == name).sum() for name in ("train", "val", "test")] == [160, 20, 20]
    assert all(len(set(drawn[groups == group])) == 1 for group in set(groups.tolist()))
    assert drawn.tolist() == draw(groups, [160, 20, 20], seed=3)
    assert drawn.tolist() != draw(groups, [160, 20, 20], seed=4)


def test_groups_spread_over_the_splits_in_proportion():
    groups = np.arange(200) // 2 * 2
    shares = [(np.array(draw(groups, [100, 50, 50], seed)) == "train")[:20].mean() for seed in range(60)]
    assert 0.4 < np.mean(shares) < 0.6


def test_images_beyond_the_sizes_are_left_out():
    assert draw(np.arange(10), [4, 2, 2], seed=0).count(None) == 2


def test_group_that_takes_everything():
    with pytest.raises(ConfigError, match=r"0 of 4 images can be drawn for val.*largest group has 40 images"):
        draw(np.zeros(40, dtype=np.int64), [32, 4, 4], seed=0)
