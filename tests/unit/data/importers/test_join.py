from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tangka_match.data.importers.caption_text import CaptionedImage
from tangka_match.data.importers.join import join
from tangka_match.errors import DataFormatError


def source(ids, counts=None, total=None):
    total = total or len(ids)
    return SimpleNamespace(ids=ids, counts=np.array(counts or [3] * total), files=[SimpleNamespace()])


def images(*names, captions=("狗",)):
    return [CaptionedImage(name if isinstance(name, tuple) else (name,), captions, None) for name in names]


@pytest.mark.parametrize(
    ("ids", "names", "how"),
    [
        (["b.jpg", "a.jpg"], ["a.jpg", "b.jpg"], "image id"),
        (["x/b", "x/a"], ["x/a.jpg", "x/b.jpg"], "path without extension"),
        (["b.jpg", "a.jpg"], ["data/a.jpg", "data/b.jpg"], "file name"),
        (["feats/b.npy", "feats/a.npy"], ["img\\a.jpg", "img\\b.jpg"], "file name without extension"),
        (
            ["391895", "9"],
            ["COCO_val2014_000000000009.jpg", "COCO_val2014_000000391895.jpg"],
            "number in the file name",
        ),
        (["7", "5"], [("a.jpg", "5"), ("b.jpg", "7")], "image id"),
    ],
)
def test_names_with_and_without_folder_and_extension(ids, names, how):
    joined = join(source(ids), images(*names))
    assert (joined.how, joined.source.tolist()) == (how, [1, 0])
    assert (joined.without_captions, joined.without_features, joined.repeated) == ([], [], 0)


def test_a_key_of_two_images_pairs_neither():
    joined = join(source(["x/a", "y/a"]), images("x/a.jpg", "y/a.jpg", "a.jpg"))
    assert (joined.how, joined.source.tolist()) == ("path without extension", [0, 1, -1])


def test_missing_sides_and_repeated_features_are_listed():
    joined = join(source(["a", "b", "a", "empty"], counts=[3, 3, 3, 0]), images("c.jpg", "a.jpg", "empty.jpg"))
    assert joined.source.tolist() == [-1, 0, -1]
    assert (joined.without_captions, joined.without_features) == (["b"], ["c.jpg", "empty.jpg"])
    assert joined.repeated == 1


def test_image_whose_captions_are_empty_counts_as_without_captions():
    joined = join(source(["a", "b"]), [*images("a"), *images("b", captions=())])
    assert (joined.source.tolist(), joined.without_captions) == ([0, -1], ["b"])


def test_features_without_ids_follow_the_captions():
    listed = [*images("b"), *images("empty", captions=()), *images("a")]
    joined = join(source(None, total=2), listed)
    assert joined.source.tolist() == [0, -1, 1]
    assert "order" in joined.how
    with pytest.raises(DataFormatError, match=r"has 3 images without ids, and the captions name 2 images.*_ids.txt"):
        join(SimpleNamespace(ids=None, counts=np.ones(3), files=[Path("x.npy")]), listed)


def test_nothing_in_common():
    message = r"no image in common: the features have ids such as 'a', 'b', the captions 'c\.jpg'"
    with pytest.raises(DataFormatError, match=message):
        join(source(["a", "b"]), images("c.jpg"))
