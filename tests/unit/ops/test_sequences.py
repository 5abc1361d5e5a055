import math

import pytest
import torch
from hypothesis import given, settings

from helpers.random_pairs import pairs
from tangka_match.ops import group_by_length, real_words, sinusoidal_positions

MASK = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]], dtype=torch.bool)


def test_group_by_length():
    groups = group_by_length(MASK)
    assert [columns.tolist() for columns in groups.columns] == [[1, 3], [0, 2]]
    assert groups.lengths == [1, 2]


def test_group_by_length_splits_large_groups():
    groups = group_by_length(MASK, most=1)
    assert [columns.tolist() for columns in groups.columns] == [[1], [3], [0], [2]]
    assert groups.lengths == [1, 1, 2, 2]


@settings(deadline=None, max_examples=20)
@given(data=pairs)
def test_restore_inverts_the_grouping(data):
    groups = group_by_length(data.token_mask)
    numbers = torch.arange(2.0 * len(data.token_ids)).view(2, -1)
    assert torch.equal(groups.restore([numbers[:, columns] for columns in groups.columns]), numbers)
    assert sum(map(len, groups.columns)) == len(data.token_ids)


def test_real_words_of_captions_with_gaps():
    tokens = torch.arange(12.0).view(4, 3, 1)
    assert real_words(tokens, MASK, torch.tensor([0, 2]), 2).flatten().tolist() == [0, 1, 6, 8]
    assert real_words(tokens, MASK, torch.tensor([3]), 1).flatten().tolist() == [11]


def test_sinusoidal_positions_equal_the_formula():
    codes = sinusoidal_positions(50, 6)
    for place in (0, 1, 49):
        for j in range(3):
            angle = place / 10_000 ** (2 * j / 6)
            assert codes[place, 2 * j].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert codes[place, 2 * j + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_sinusoidal_positions_of_odd_dimension():
    assert torch.equal(sinusoidal_positions(4, 5)[:, :4].isfinite(), torch.ones(4, 4, dtype=torch.bool))
    assert sinusoidal_positions(4, 5)[0].tolist() == [0, 1, 0, 1, 0]
