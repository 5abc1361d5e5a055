import pytest
import torch

from tangka_match.metrics import Ranks, summarise

RANKS = Ranks(i2t=torch.tensor([1, 4]), t2i=torch.tensor([1, 6, 1, 12]))


def test_names_and_their_order():
    assert list(summarise(RANKS)) == [
        "i2t_r1", "i2t_r5", "i2t_r10", "i2t_median_rank", "i2t_mean_rank",
        "t2i_r1", "t2i_r5", "t2i_r10", "t2i_median_rank", "t2i_mean_rank",
        "mean_r1", "rsum",
    ]  # fmt: skip


def test_values():
    assert summarise(RANKS) == pytest.approx(
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


def test_perfect_model():
    ones = Ranks(torch.ones(5, dtype=torch.int64), torch.ones(25, dtype=torch.int64))
    assert summarise(ones)["rsum"] == 600.0
    assert summarise(ones)["mean_r1"] == 100.0
