from types import SimpleNamespace

import numpy as np
import pytest

from tangka_match.data.importers.caption_text import CaptionedImage
from tangka_match.data.importers.source import ImageRegions
from tangka_match.data.importers.writer import write_split
from tangka_match.data.split import load_split
from tangka_match.errors import DataFormatError

IMAGES = [CaptionedImage((name,), texts, None) for name, texts in (("b", ("狗", "犬")), ("a", ("猫",)), ("c", ("鸟",)))]
BOX = np.array([[0, 0, 0.5, 1]], dtype=np.float32)


def source(regions, boxes):
    def read(images):
        assert images.tolist() == sorted(images.tolist())
        return (ImageRegions(image, regions[image], boxes[image]) for image in images.tolist())

    return SimpleNamespace(read=read, dim=regions[0].shape[1])


def write(folder, regions, boxes, dtype="float16"):
    places = np.array([1, 0, 2])
    return write_split(folder, "train", IMAGES, source(regions, boxes), places, regions=2, dtype=np.dtype(dtype))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_ragged_images_are_padded_and_in_the_order_of_the_captions(tmp_path, dtype):
    regions = [np.full((n, 4), value, np.float64) for n, value in ((1, 0.25), (2, 0.5), (1, 0.75))]
    assert write(tmp_path, regions, [BOX, np.concatenate([BOX, BOX]), BOX], dtype)
    split = load_split(tmp_path, "train")
    assert (split.image_ids, split.captions) == (("b", "a", "c"), ("狗", "犬", "猫", "鸟"))
    assert split.caption_to_image.tolist() == [0, 0, 1, 2]
    assert split.features.dtype == dtype
    assert split.features.read(np.arange(3))[..., 0].tolist() == [[0.5, 0.5], [0.25, 0], [0.75, 0]]
    assert split.boxes[1].tolist() == [[0, 0, 0.5, 1], [0, 0, 0, 0]]


def test_boxes_are_written_only_if_every_image_has_some(tmp_path):
    regions = [np.ones((1, 4))] * 3
    assert not write(tmp_path, regions, [BOX, None, BOX])
    assert load_split(tmp_path, "train").boxes is None


@pytest.mark.parametrize(
    ("value", "fault"), [(np.nan, "NaN or Inf"), (1e5, "too large for float16"), (0.0, "all zeros")]
)
def test_damaged_images_are_listed_together(tmp_path, value, fault):
    regions = [np.full((1, 4), value), np.ones((1, 4)), np.full((1, 4), value)]
    with pytest.raises(DataFormatError, match=rf"2 of 3 images cannot be trained on.*\n  a: {fault}\n  c: {fault}"):
        write(tmp_path, regions, [None] * 3)
