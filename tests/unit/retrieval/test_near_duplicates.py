import numpy as np
import pytest
import torch

from helpers.precomp import write_precomp
from tangka_match.data.split import load_split
from tangka_match.errors import ConfigError
from tangka_match.metrics import relevant_ranks
from tangka_match.retrieval import near_duplicates
from tangka_match.retrieval.near_duplicates import mean_features, relevant_pairs


@pytest.fixture
def root(tmp_path):
    """Four images: 1 is a noisy copy of 0; captions of 2 and 3 differ in punctuation alone; 0 has padding."""
    captions = ["一尊绿度母", "白度母坐像", "文殊菩萨,手持宝剑。", "文殊菩萨 手持宝剑"]
    written = write_precomp(tmp_path, "test", images=4, captions=captions, dim=16, dtype="float32")
    features = np.random.default_rng(0).normal(size=written.features.shape).astype(np.float32)
    features[0, -1] = 0
    features[1] = features[0]
    features[1, -1] = features[0, :-1].mean(axis=0)  # the mean over real regions is the same
    features[1] += 0.02 * np.random.default_rng(1).normal(size=features[1].shape)
    np.save(written.path("_ims.npy"), features)
    return tmp_path


def test_copies_and_equal_texts_count_as_right(root):
    found = relevant_pairs(load_split(root, "test"), threshold=0.01)
    assert found.int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]


@pytest.mark.parametrize("block", [1, 3, 128])
def test_the_mean_is_over_real_regions(root, block, monkeypatch):
    monkeypatch.setattr(near_duplicates, "BLOCK", block)
    split = load_split(root, "test")
    for found, regions in zip(mean_features(split), split.features.read(np.arange(4)), strict=True):
        mean = regions[(regions != 0).any(axis=1)].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(found.numpy(), mean / np.linalg.norm(mean), atol=1e-6)


def test_at_0_only_copies_do(root):
    found = relevant_pairs(load_split(root, "test"), threshold=0.0)
    assert found.int().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]


def test_at_2_everything_does(root):
    assert relevant_pairs(load_split(root, "test"), threshold=2.0).all()


def test_a_swap_of_duplicates_is_no_fault(root):
    swapped = torch.eye(4)[[1, 0, 3, 2]]
    assert (relevant_ranks(swapped, relevant_pairs(load_split(root, "test"), 0.01)).i2t == 1).all()


@pytest.mark.parametrize("threshold", [-0.1, 2.1, float("nan")])
def test_threshold_out_of_range(root, threshold):
    with pytest.raises(ConfigError, match=r"near_duplicates.threshold=.*: a cosine distance is between 0 and 2"):
        relevant_pairs(load_split(root, "test"), threshold)
