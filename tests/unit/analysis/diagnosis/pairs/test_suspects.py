"""Reasons, ranks and order of pairs."""

import numpy as np
import pytest
import torch

from helpers.precomp import write_precomp
from tangka_match.analysis.diagnosis.pairs.held_out import FoldScores
from tangka_match.analysis.diagnosis.pairs.suspects import (
    DUPLICATE,
    OUTLIER,
    SWAPPED,
    UNKNOWN,
    list_suspects,
    outlier_images,
    pair_ranks,
)
from tangka_match.data.feature_scan import scan_features
from tangka_match.data.split import load_split
from tangka_match.metrics import retrieval_ranks


def naive_ranks(scores, owners):
    """Rank each pair by counting; of equal scores the higher index is first."""
    i2t, t2i = [], []
    for caption, image in enumerate(owners):
        own = scores[image][caption]
        wrong = [c for c, owner in enumerate(owners) if owner != image]
        i2t.append(1 + sum((scores[image][c], c) > (own, caption) for c in wrong))
        t2i.append(1 + sum((scores[i][caption], i) > (own, image) for i in range(len(scores))))
    return i2t, t2i


@pytest.mark.parametrize("levels", [3, 1000])
def test_ranks_agree_with_counting(levels):
    owners = np.array([0, 0, 1, 2, 2, 2, 3])
    scores = torch.randint(levels, (4, 7), generator=torch.Generator().manual_seed(levels)).float()
    i2t, t2i = pair_ranks(scores, owners)
    assert (i2t.tolist(), t2i.tolist()) == naive_ranks(scores.tolist(), owners.tolist())


def test_ranks_of_one_caption_per_image_are_those_of_the_evaluation():
    scores = torch.randn(30, 30, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    expected = retrieval_ranks(scores, torch.arange(30))
    assert [part.tolist() for part in pair_ranks(scores, np.arange(30))] == [part.tolist() for part in expected]


@pytest.fixture
def pool(tmp_path):
    """24 images, the third with two captions."""
    write_precomp(tmp_path, "train", images=24, captions_per_image=[1, 1, 2, *[1] * 21], ids="caption")
    return load_split(tmp_path, "train")


def fold(number, images, similarity, pool, unknown=()):
    captions = np.flatnonzero(np.isin(pool.caption_to_image, images))
    owners = np.searchsorted(images, pool.caption_to_image[captions])
    return FoldScores(number, np.array(images), captions, owners, similarity, np.isin(captions, unknown))


def good_scores(images, captions, owners):
    scores = 0.1 * torch.rand(images, captions, generator=torch.Generator().manual_seed(0))
    scores[torch.as_tensor(owners), torch.arange(captions)] += 1.0
    return scores


@pytest.fixture
def folds(pool):
    """Two folds; the captions of images 0 and 4 of the first are exchanged."""
    first = good_scores(6, 7, [0, 1, 2, 2, 3, 4, 5])
    first[0, 0], first[4, 5] = 0.0, 0.0
    first[4, 0], first[0, 5] = 0.5, 0.4
    second = good_scores(18, 18, range(18))
    return [fold(0, range(6), first, pool), fold(1, range(6, 24), second, pool, unknown=[9])]


def test_exchanged_captions_come_first_with_their_rivals(pool, folds):
    groups = np.arange(24)
    groups[[7, 8]] = 7
    outliers = np.arange(24) == 11
    found = list_suspects(pool, folds, groups, outliers)
    assert len(found.suspects) == 25
    assert found.is_usable
    assert found.share == pytest.approx(2 * 2 / 25)
    first, second = found.suspects[:2]
    assert {first.image, second.image} == {0, 4}
    assert all(pair.reasons == (SWAPPED,) and pair.probability > 0.9 for pair in (first, second))
    by_image = {pair.image: pair for pair in found.suspects if pair.caption != 3}
    assert (by_image[0].better_caption.image, by_image[0].better_image.image) == (4, 4)
    assert (by_image[4].better_caption.image, by_image[4].better_image.image) == (0, 0)
    assert (by_image[0].i2t_rank, by_image[0].t2i_rank) == (7, 6)
    assert {image: pair.reasons for image, pair in by_image.items() if pair.reasons and image not in (0, 4)} == {
        7: (DUPLICATE,),
        8: (DUPLICATE, UNKNOWN),
        11: (OUTLIER,),
    }
    assert (by_image[7].duplicates, by_image[8].duplicates) == ((8,), (7,))


def test_pairs_have_the_names_that_data_exclude_reads(pool, folds):
    found = list_suspects(pool, folds, np.arange(24), np.zeros(24, bool))
    names = {pair.caption: pair.name for pair in found.suspects}
    assert names[2] == ("train-0002", 1)
    assert names[3] == ("train-0002", 2)
    assert names[4] == ("train-0003", 1)


def test_models_at_chance_call_no_pair_swapped(pool, folds):
    scores = torch.randn(18, 18, generator=torch.Generator().manual_seed(1))
    found = list_suspects(pool, [folds[1]._replace(similarity=scores)], np.arange(24), np.zeros(24, bool))
    assert not found.is_usable
    assert not any(SWAPPED in pair.reasons for pair in found.suspects)


def test_outlier_is_a_picture_far_from_all_others(tmp_path):
    random = np.random.default_rng(0)
    for split, images in (("train", 60), ("val", 10)):
        written = write_precomp(tmp_path, split, images=images, dim=32)
        features = 1.0 + random.normal(size=written.features.shape)
        if split == "train":
            features[7] *= -1.0
        np.save(written.path("_ims.npy"), features.astype(np.float32))
    splits = [load_split(tmp_path, "train"), load_split(tmp_path, "val")]
    assert np.flatnonzero(outlier_images([scan_features(split) for split in splits])).tolist() == [7]
