import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.precomp import write_precomp
from tangka_match.data.split import load_split
from tangka_match.errors import ConfigError
from tangka_match.metrics import relevant_ranks, retrieval_ranks
from tangka_match.retrieval import protocols
from tangka_match.retrieval.protocols import EvaluationProtocol, mean_features, rank_galleries, relevant_pairs


@pytest.fixture
def root(tmp_path):
    """Write four images: 1 is a noisy copy of 0, captions of 2 and 3 differ in punctuation only, and 0 has padding."""
    captions = ["一尊绿度母", "白度母坐像", "文殊菩萨,手持宝剑。", "文殊菩萨 手持宝剑"]
    written = write_precomp(tmp_path, "test", images=4, captions=captions, dim=16, dtype="float32")
    features = np.random.default_rng(0).normal(size=written.features.shape).astype(np.float32)
    features[0, -1] = 0
    features[1] = features[0]
    features[1, -1] = features[0, :-1].mean(axis=0)  # same mean over the real regions
    features[1] += 0.02 * np.random.default_rng(1).normal(size=features[1].shape)
    np.save(written.path("_ims.npy"), features)
    return tmp_path


def test_near_copies_and_equal_texts_are_relevant(root):
    found = relevant_pairs(load_split(root, "test"), threshold=0.01)
    assert found.int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]


@pytest.mark.parametrize("block", [1, 3, 128])
def test_mean_features_ignore_padding(root, block, monkeypatch):
    monkeypatch.setattr(protocols, "BLOCK", block)
    split = load_split(root, "test")
    for found, regions in zip(mean_features(split), split.features.read(np.arange(4)), strict=True):
        mean = regions[(regions != 0).any(axis=1)].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(found.numpy(), mean / np.linalg.norm(mean), atol=1e-6)


def test_threshold_0_keeps_exact_copies_only(root):
    found = relevant_pairs(load_split(root, "test"), threshold=0.0)
    assert found.int().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]


def test_threshold_2_makes_all_pairs_relevant(root):
    assert relevant_pairs(load_split(root, "test"), threshold=2.0).all()


def test_swapped_duplicates_rank_first(root):
    swapped = torch.eye(4)[[1, 0, 3, 2]]
    assert (relevant_ranks(swapped, relevant_pairs(load_split(root, "test"), 0.01)).i2t == 1).all()


@pytest.mark.parametrize("threshold", [-0.1, 2.1, float("nan")])
def test_threshold_out_of_range_is_an_error(root, threshold):
    with pytest.raises(ConfigError, match=r"near_duplicates.threshold=.* must be in \[0, 2\]"):
        relevant_pairs(load_split(root, "test"), threshold)


OWNERS = torch.tensor([0, 0, 1, 2, 2, 2, 3])  # ragged: 2, 1, 3 and 1 captions


def scores(images=4, captions=7, seed=0):
    return torch.rand(images, captions, generator=torch.Generator().manual_seed(seed))


def test_full_gallery_equals_retrieval_ranks():
    pooled = rank_galleries(scores(), OWNERS, EvaluationProtocol())
    expected = retrieval_ranks(scores(), OWNERS)
    assert torch.equal(pooled.ranks.i2t, expected.i2t)
    assert torch.equal(pooled.ranks.t2i, expected.t2i)
    assert pooled.i2t_image.tolist() == [0, 1, 2, 3]
    assert pooled.t2i_image.tolist() == OWNERS.tolist()


def test_rescore_is_applied_per_direction_and_gallery():
    seen = []

    def rescore(gallery, images, captions):
        seen.append((gallery, images, captions))
        return gallery, -gallery

    pooled = rank_galleries(scores(), OWNERS, EvaluationProtocol(folds=2), rescore=rescore)
    upright, reversed_ = (
        rank_galleries(sign * scores(), OWNERS, EvaluationProtocol(folds=2)).ranks for sign in (1, -1)
    )
    assert torch.equal(pooled.ranks.i2t, upright.i2t)
    assert torch.equal(pooled.ranks.t2i, reversed_.t2i)
    for gallery, images, captions in seen:
        assert torch.equal(gallery, scores()[images][:, captions])


def test_relevant_pairs_count_within_a_gallery():
    relevant = torch.arange(4)[:, None] == OWNERS
    relevant[0, 2] = relevant[0, 6] = True  # caption 2 is in the first fold, 6 in the second
    similarity = torch.zeros(4, 7)
    similarity[0, 2] = 1.0
    pooled = rank_galleries(similarity, OWNERS, EvaluationProtocol(folds=2), relevant=relevant)
    assert pooled.ranks.i2t[0] == 1
    assert rank_galleries(similarity, OWNERS, EvaluationProtocol(folds=2)).ranks.i2t[0] == 2


def test_folds_are_ranked_independently():
    similarity = torch.tensor([[0.5, 0.4, 0.9, 0.9], [0.6, 0.1, 0.9, 0.9], [0.9, 0.9, 0.3, 0.2], [0.9, 0.9, 0.4, 0.1]])
    pooled = rank_galleries(similarity, torch.arange(4), EvaluationProtocol(folds=2))
    # Within their folds, images 0 and 2 rank their captions first, images 1 and 3 second.
    assert pooled.ranks.i2t.tolist() == [1, 2, 1, 2]
    assert pooled.ranks.t2i.tolist() == [2, 2, 2, 2]


def test_average_over_folds_by_hand():
    """Folds of two and one images with a caption each: R@1 is 50 and 100 %, the mean rank 1.5 and 1."""
    similarity = torch.tensor([[0.1, 0.9, 0.0], [0.0, 0.8, 0.0], [0.0, 0.0, 0.5]])
    protocol = EvaluationProtocol(folds=2, average_folds=True)
    pooled = rank_galleries(similarity, torch.arange(3), protocol)
    assert pooled.metrics(protocol)["i2t_r1"] == 75.0
    assert pooled.metrics(protocol)["i2t_mean_rank"] == 1.25
    queries = pooled.metrics(EvaluationProtocol(folds=2))
    assert queries["i2t_r1"] == pytest.approx(200 / 3)
    assert queries["i2t_mean_rank"] == pytest.approx(4 / 3)


def test_folds_hold_every_query_once():
    pooled = rank_galleries(scores(), OWNERS, EvaluationProtocol(folds=3))
    assert pooled.i2t_image.tolist() == [0, 1, 2, 3]
    assert sorted(pooled.t2i_image.tolist()) == sorted(OWNERS.tolist())


@given(size=st.integers(1, 4), draws=st.integers(1, 5), seed=st.integers(0, 99))
def test_random_galleries_have_one_caption_per_image(size, draws, seed):
    pooled = rank_galleries(scores(), OWNERS, EvaluationProtocol(gallery_size=size, draws=draws, seed=seed))
    assert torch.equal(pooled.i2t_image, pooled.t2i_image)
    for images in pooled.i2t_image.split(size):
        assert len(set(images.tolist())) == size
    assert int(pooled.ranks.i2t.max()) <= size


def test_every_caption_is_drawn_eventually():
    """Caption c has the highest score, so its rank is 1 in every gallery in which it is drawn."""
    for caption, image in enumerate(OWNERS.tolist()):
        similarity = torch.zeros(4, 7)
        similarity[image, caption] = 1.0
        similarity[image - 1, [c for c in range(7) if c != caption]] = 0.5  # its image is second
        pooled = rank_galleries(similarity, OWNERS, EvaluationProtocol(gallery_size=4, draws=60))
        assert (pooled.ranks.t2i[pooled.t2i_image == image] == 1).any()


def test_same_seed_draws_same_galleries():
    first, again, other = (
        rank_galleries(scores(), OWNERS, EvaluationProtocol(gallery_size=2, draws=20, seed=seed)).i2t_image
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 0}, "protocol.folds=0"),
        ({"average_folds": True}, "protocol.average_folds=true needs protocol.folds"),
        ({"gallery_size": 0}, "protocol.gallery_size=0"),
        ({"draws": -1}, "protocol.draws=-1"),
        ({"folds": 2, "gallery_size": 3}, "protocol.folds=2 and protocol.gallery_size=3: choose one"),
    ],
)
def test_invalid_protocol_is_an_error(settings, message):
    with pytest.raises(ConfigError, match=message):
        EvaluationProtocol(**settings)


@pytest.mark.parametrize(("name", "settings"), [("folds", {"folds": 5}), ("gallery_size", {"gallery_size": 5})])
def test_split_smaller_than_gallery_is_an_error(name, settings):
    with pytest.raises(ConfigError, match=f"protocol.{name}=5 must be at most 4"):
        rank_galleries(scores(), OWNERS, EvaluationProtocol(**settings))
