import numpy as np
import pytest

from helpers.planted import planted_split
from tangka_match.analysis.diagnosis import distinguishable as module
from tangka_match.analysis.diagnosis.ceiling import ceiling
from tangka_match.analysis.diagnosis.distinguishable import find_distinguishable_captions
from tangka_match.analysis.diagnosis.texts import Texts
from tangka_match.data.feature_scan import scan_features
from tangka_match.data.near_images import group_pairs, near_images
from tangka_match.data.split import load_split
from tangka_match.data.tokenizer import JiebaTokenizer
from tangka_match.demo import write_demo_set

CLOUD, SUN, TEXTURE, FOG = np.random.default_rng(5).normal(size=(4, 48))
"""Contents of regions. Training has a word for the first two; 3 of the 5 captions with 雾 belong to the 5 images with
the last, where 0.2 are expected by chance: six standard deviations, but p = 1/3,000."""
PAIR = np.array([0, 0, *range(2, 60)])


def texts(split):
    return Texts(split, split.captions, [caption.split() for caption in split.captions])


def mismatches(tmp_path, first, copy, *, shows=CLOUD):
    """Return the mismatches of two near-duplicates: image 1 equals image 0, except for one region."""
    captions = [
        f"画 {'云' * (n % 6 == 0)} {'日' * (n % 7 == 0)} {'雾' * (n in (1, 2, 3, 8, 9))} 词{n}" for n in range(120)
    ]

    def paint(features):
        features[::6, 2], features[::7, 3], features[::5, 4], features[1:6, 5] = CLOUD, SUN, TEXTURE, FOG

    def copies(features):
        features[1] = features[0]
        features[0, 2] = shows

    train = texts(planted_split(tmp_path, "train", images=120, captions=captions, change=paint))
    rest = [f"画 词{n}" for n in range(200, 258)]
    val = texts(planted_split(tmp_path, "val", captions=[first, copy, *rest], change=copies))
    return find_distinguishable_captions(val, PAIR, np.arange(60), train, scan_features(train.split))


def test_caption_mentions_what_the_copy_lacks(tmp_path):
    assert mismatches(tmp_path, "画 云", "画") == {(0, 1)}


@pytest.mark.parametrize("caption", ["画", "画 日", "画 词3", "生词"], ids=["common", "not shown", "rare", "unknown"])
def test_uninformative_caption_is_not_a_mismatch(tmp_path, caption):
    assert mismatches(tmp_path, caption, "画") == frozenset()


def test_difference_without_a_word_is_not_a_mismatch(tmp_path):
    assert mismatches(tmp_path, "画 云 日", "画", shows=TEXTURE) == frozenset()


def test_large_group_is_not_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_GROUP_SIZE", 1)
    assert mismatches(tmp_path, "画 云", "画") == frozenset()


def test_rare_cooccurrence_is_not_significant(tmp_path):
    assert mismatches(tmp_path, "画 雾", "画", shows=FOG) == frozenset()


def test_shared_text_fits_both_images(tmp_path):
    train = texts(planted_split(tmp_path, "train"))
    val = texts(planted_split(tmp_path, "val"))
    assert (
        find_distinguishable_captions(val, PAIR, np.zeros(60, np.int64), train, scan_features(train.split))
        == frozenset()
    )


def test_images_without_valid_regions_are_ignored(tmp_path):
    train = texts(planted_split(tmp_path, "train"))
    val = texts(planted_split(tmp_path, "val", change=lambda features: features[:2].fill(np.nan)))
    assert find_distinguishable_captions(val, PAIR, np.arange(60), train, scan_features(train.split)) == frozenset()


def test_ceiling_is_within_three_points_of_the_demo_oracle(tmp_path):
    """Two of five images copy another one, half of them with one change; see `experiments/` for other sets."""
    truth = write_demo_set(tmp_path / "demo", train=800, val=120, test=1, duplicate_share=0.4, thumbnails=False)
    tokenizer = JiebaTokenizer()
    train, val = (
        Texts(split, split.captions, [tokenizer(caption) for caption in split.captions])
        for split in (load_split(tmp_path / "demo", name) for name in ("train", "val"))
    )
    scan, owners = scan_features(val.split), val.split.caption_to_image
    images = group_pairs(near_images(val.split, scan, val.split, scan), 120)
    found = find_distinguishable_captions(val, images, np.arange(120), train, scan_features(train.split))
    oracle = truth["splits"]["val"]["oracle"]["mean_r1"]
    without_mismatches, estimate = (ceiling(images, np.arange(120), owners, known)["mean_r1"] for known in ((), found))
    assert estimate == pytest.approx(oracle, abs=3.0)
    assert without_mismatches < estimate - 1.0, "some captions distinguish near-duplicates"
