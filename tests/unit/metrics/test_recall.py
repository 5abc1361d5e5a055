import statistics

import pytest
import torch

from tangka_match.errors import ConfigError
from tangka_match.metric_names import METRICS
from tangka_match.metrics import Ranks, mean_rank, median_rank, recall_at_k, summarise


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_rank_statistics_match_the_standard_library(size):
    ranks = torch.randint(1, 50, (size,), generator=torch.Generator().manual_seed(size))
    assert median_rank(ranks) == statistics.median(ranks.tolist())
    assert mean_rank(ranks) == pytest.approx(statistics.mean(ranks.tolist()))


def test_median_of_even_count_is_the_mean_of_two():
    assert median_rank(torch.tensor([1, 2, 7, 9])) == 4.5


RANKS = torch.tensor([1, 2, 5, 6, 10, 11, 1, 40])


@pytest.mark.parametrize(("k", "percent"), [(1, 25.0), (2, 37.5), (5, 50.0), (10, 75.0), (40, 100.0)])
def test_recall_matches_hand_count(k, percent):
    assert recall_at_k(RANKS, k) == percent


def test_recall_on_363_queries_is_exact():
    assert recall_at_k(torch.where(torch.arange(363) < 136, 1, 2), 1) == 13600 / 363


def test_k_below_one_is_an_error():
    with pytest.raises(ConfigError, match="k=0 must be >= 1"):
        recall_at_k(RANKS, 0)


BOTH_DIRECTIONS = Ranks(i2t=torch.tensor([1, 4]), t2i=torch.tensor([1, 6, 1, 12]))


def test_summary_has_all_metric_names():
    assert set(summarise(BOTH_DIRECTIONS)) == set(METRICS)


def test_summary_names_and_order():
    assert list(summarise(BOTH_DIRECTIONS)) == [
        "i2t_r1", "i2t_r5", "i2t_r10", "i2t_median_rank", "i2t_mean_rank",
        "t2i_r1", "t2i_r5", "t2i_r10", "t2i_median_rank", "t2i_mean_rank",
        "mean_r1", "rsum",
    ]  # fmt: skip


def test_summary_values():
    assert summarise(BOTH_DIRECTIONS) == pytest.approx(
        {
            "i2t_r1": 50.0,
            "i2t_r5": 100.0,
            "i2t_r10": 100.0,
            "i2t_median_rank": 2.5,
            "i2t_mean_rank": 2.5,
            "t2i_r1": 50.0,
            "t2i_r5": 50.0,
            "t2i_r10": 75.0,
            "t2i_median_rank": 3.5,
            "t2i_mean_rank": 5.0,
            "mean_r1": 50.0,
            "rsum": 425.0,
        }
    )


def test_perfect_model_has_full_recall():
    ones = Ranks(torch.ones(5, dtype=torch.int64), torch.ones(25, dtype=torch.int64))
    assert summarise(ones)["rsum"] == 600.0
    assert summarise(ones)["mean_r1"] == 100.0
