import json
import math
import pickle

import numpy as np
import pytest
import torch

from helpers.naive_retrieval import naive_ranks, naive_recall
from helpers.shared import SHARED, needs_shared
from tangka_match.errors import TrainingError
from tangka_match.metrics import RetrievalMetrics, retrieval_ranks, summarise

SCORES = torch.rand(8, 24, generator=torch.Generator().manual_seed(0))
OWNERS = torch.arange(24) % 8


def test_one_gallery_gives_the_summary_of_its_ranks():
    metrics = RetrievalMetrics()
    metrics.update(SCORES, OWNERS)
    values = metrics.compute()
    assert {name: value.item() for name, value in values.items()} == pytest.approx(
        summarise(retrieval_ranks(SCORES, OWNERS))
    )


def test_several_galleries_pool_their_queries():
    metrics = RetrievalMetrics()
    metrics.update(SCORES, OWNERS)
    metrics.update(SCORES[:2, [0, 1]], torch.tensor([0, 1]))
    i2t, t2i = naive_ranks(SCORES.tolist(), OWNERS.tolist())
    more_i2t, more_t2i = naive_ranks(SCORES[:2, [0, 1]].tolist(), [0, 1])
    values = metrics.compute()
    assert values["i2t_r1"].item() == pytest.approx(naive_recall(i2t + more_i2t, 1))
    assert values["t2i_r5"].item() == pytest.approx(naive_recall(t2i + more_t2i, 5))


def test_forward_returns_the_values_of_its_gallery_and_keeps_the_state():
    metrics = RetrievalMetrics()
    first = metrics(SCORES, OWNERS)
    metrics(-SCORES, OWNERS)
    assert first["rsum"].item() == pytest.approx(summarise(retrieval_ranks(SCORES, OWNERS))["rsum"])
    assert len(torch.cat(metrics.i2t)) == 16


def test_reset_clears_the_state():
    metrics = RetrievalMetrics()
    metrics.update(-SCORES, OWNERS)
    metrics.reset()
    metrics.update(torch.eye(3), torch.arange(3))
    assert metrics.compute()["rsum"] == 600


def test_can_be_pickled():
    metrics = RetrievalMetrics()
    metrics.update(SCORES, OWNERS)
    copy = pickle.loads(pickle.dumps(metrics))
    assert copy.compute()["rsum"] == metrics.compute()["rsum"]


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_compute_without_a_gallery_is_refused():
    with pytest.raises(TrainingError, match="0 galleries seen"):
        RetrievalMetrics().compute()


@needs_shared
@pytest.mark.parametrize("network", ["saf", "sgr"])
@pytest.mark.parametrize("split", ["dev", "test"])
class TestPublishedEvaluation:
    """Score matrices of the published networks and the metrics of their own evaluation, 5 captions per image."""

    @staticmethod
    def read(network, split):
        folder = SHARED / "fixtures" / f"legacy_{network}"
        scores = torch.from_numpy(np.load(folder / f"expected_sims_{split}.npy"))
        return scores, torch.arange(scores.shape[1]) // 5, json.loads((folder / "expected.json").read_text())[split]

    def test_metrics_equal_the_published(self, network, split):
        scores, owners, published = self.read(network, split)
        ours = summarise(retrieval_ranks(scores, owners))
        assert ours["rsum"] == pytest.approx(published["rsum"])
        for direction in ("i2t", "t2i"):
            assert [ours[f"{direction}_r{k}"] for k in (1, 5, 10)] == pytest.approx(published[direction][:3])
            assert math.floor(ours[f"{direction}_median_rank"]) == published[direction][3]
            assert ours[f"{direction}_mean_rank"] == pytest.approx(published[direction][4])
