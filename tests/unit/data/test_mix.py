import shutil

import numpy as np
import pytest

from helpers.precomp import write_dataset, write_precomp
from tangka_match.data.mix import FurtherSet, open_further_sets, read_mix
from tangka_match.data.split import load_split
from tangka_match.errors import ConfigError, DataFormatError


@pytest.mark.parametrize(
    ("mix", "said"),
    [
        (
            [{"root": "a"}],
            r"data\.mix\[0\]=\{'root': 'a'\}; allowed: \{root: <folder>, share: <of the pairs of a batch>\}",
        ),
        ([{"root": "a", "share": 0.2}, {"path": "a", "share": 0.5}], r"data\.mix\[1\]=\{'path': 'a', 'share': 0\.5\}"),
        ([{"root": "a", "share": "half"}], r"data\.mix\[0\]=\{'root': 'a', 'share': 'half'\}"),
        ([{"root": 3, "share": 0.5}], r"data\.mix\[0\]=\{'root': 3, 'share': 0\.5\}"),
        ([{"root": "a", "share": True}], r"data\.mix\[0\]=\{'root': 'a', 'share': True\}"),
        ([{"root": "a", "share": 0}], r"data\.mix\[0\]\.share=0; allowed: more than 0, under 1"),
        ([{"root": "a", "share": 1.0}], r"data\.mix\[0\]\.share=1\.0; allowed"),
        ([{"root": "a", "share": float("nan")}], r"data\.mix\[0\]\.share=nan; allowed"),
        (
            [{"root": "a", "share": 0.6}, {"root": "b", "share": 0.4}],
            r"shares \[0\.6, 0\.4\] add up to 1, which leaves nothing",
        ),
    ],
)
def test_a_faulty_mix(mix, said):
    with pytest.raises(ConfigError, match=said):
        read_mix(mix)


@pytest.fixture
def own(tmp_path):
    root = write_dataset(tmp_path / "own", train=6, val=4)
    write_precomp(root, "test", images=3, seed=8)
    return root


def opened(root, *sets):
    own, val = load_split(root, "train"), load_split(root, "val")
    return open_further_sets(sets, str(root), own, val)


def test_a_set_of_other_images_is_used_whole(tmp_path, own):
    write_precomp(tmp_path / "b", images=5, captions_per_image=2, seed=4)
    (further,) = opened(own, FurtherSet(str(tmp_path / "b"), 0.25))
    assert (further.split.num_images, further.left_out) == (5, 0)
    assert str(further) == f"25 % of each batch from 10 captions of 5 images in {tmp_path / 'b'}"


@pytest.mark.parametrize("of", ["train", "val", "test"])
def test_images_of_the_own_set_are_left_out_whatever_their_split(tmp_path, own, of):
    """Validated on they would leak; trained on twice they would be negatives of themselves."""
    written = write_precomp(tmp_path / "b", images=5, captions_per_image=2, seed=4)
    array = written.features.copy()
    array[[0, 3]] = load_split(own, of).features.read(np.array([2, 1]))
    np.save(written.path("_ims.npy"), array)
    (further,) = opened(own, FurtherSet(str(tmp_path / "b"), 0.5))
    assert further.left_out == 2
    assert further.split.captions == tuple(written.captions[c] for c in (2, 3, 4, 5, 8, 9))
    np.testing.assert_array_equal(further.split.features.read(np.arange(3)), array[[1, 2, 4]])
    assert "(2 more images are known already, and left out)" in str(further)


def test_a_later_set_is_without_the_images_of_an_earlier_one(tmp_path, own):
    written = write_precomp(tmp_path / "b", images=5, seed=4)
    write_precomp(tmp_path / "c", images=5, seed=5)
    array = np.load(tmp_path / "c" / "train_ims.npy")
    array[1] = written.features[0]
    np.save(tmp_path / "c" / "train_ims.npy", array)
    _, later = opened(own, FurtherSet(str(tmp_path / "b"), 0.2), FurtherSet(str(tmp_path / "c"), 0.2))
    assert later.left_out == 1


def test_the_own_set_again_or_a_set_twice(tmp_path, own):
    shutil.copytree(own, tmp_path / "copy")
    with pytest.raises(ConfigError, match=r"data\.mix\[0\]\.root=.*/copy: all of its 6 training images are in .*/own"):
        opened(own, FurtherSet(str(tmp_path / "copy"), 0.5))
    write_precomp(tmp_path / "b", images=5, seed=4)
    twice = FurtherSet(str(tmp_path / "b"), 0.2)
    with pytest.raises(ConfigError, match=r"data\.mix\[1\]\.root=.*/b: all of its 5 .* or in a set named before it"):
        opened(own, twice, twice)


def test_other_regions(tmp_path, own):
    write_precomp(tmp_path / "b", images=5, regions=7)
    with pytest.raises(DataFormatError, match=r"/own/train_ims\.npy has .*\(4, 8\), .*/b/train_ims\.npy has \(7, 8\)"):
        opened(own, FurtherSet(str(tmp_path / "b"), 0.5))


def test_a_missing_folder_is_called_by_its_setting(tmp_path, own):
    with pytest.raises(DataFormatError, match=rf"data\.mix\[0\]\.root must be a folder .* nothing at {tmp_path}/none"):
        opened(own, FurtherSet(str(tmp_path / "none"), 0.5))
