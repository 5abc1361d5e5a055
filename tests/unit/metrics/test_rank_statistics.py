import statistics

import pytest
import torch

from tangka_match.metrics import mean_rank, median_rank


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_against_the_standard_library(size):
    ranks = torch.randint(1, 50, (size,), generator=torch.Generator().manual_seed(size))
    assert median_rank(ranks) == statistics.median(ranks.tolist())
    assert mean_rank(ranks) == pytest.approx(statistics.mean(ranks.tolist()))


def test_median_between_two_ranks():
    assert median_rank(torch.tensor([1, 2, 7, 9])) == 4.5
