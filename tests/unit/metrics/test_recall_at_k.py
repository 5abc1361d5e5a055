import pytest
import torch

from tangka_match.errors import ConfigError
from tangka_match.metrics import recall_at_k

RANKS = torch.tensor([1, 2, 5, 6, 10, 11, 1, 40])


@pytest.mark.parametrize(("k", "percent"), [(1, 25.0), (2, 37.5), (5, 50.0), (10, 75.0), (40, 100.0)])
def test_by_hand(k, percent):
    assert recall_at_k(RANKS, k) == percent


def test_exact_on_363_queries():
    assert recall_at_k(torch.where(torch.arange(363) < 136, 1, 2), 1) == 13600 / 363


def test_cut_off_below_one():
    with pytest.raises(ConfigError, match="k=0"):
        recall_at_k(RANKS, 0)
