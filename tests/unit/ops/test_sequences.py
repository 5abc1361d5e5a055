import math
from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
    single, double = real_words(tokens, MASK, group_by_length(MASK))
    assert single.flatten().tolist() == [3, 11]
    assert double.flatten().tolist() == [0, 1, 6, 8]


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


def padded_words(groups):
    return sum(len(columns) * length for columns, length in zip(groups.columns, groups.lengths, strict=True))


def partitions(lengths, groups):
    """Yield all divisions of sorted distinct lengths into at most ``groups`` runs."""
    for cuts in range(groups):
        for chosen in combinations(range(1, len(lengths)), min(cuts, len(lengths) - 1)):
            ends = [0, *chosen, len(lengths)]
            yield [lengths[a:b] for a, b in pairwise(ends)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 4))
def test_few_groups_have_the_least_padding(lengths, most):
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    groups = group_by_length(mask, max_groups=most)
    assert len(groups.columns) <= most
    assert sorted(torch.cat(list(groups.columns)).tolist()) == list(range(len(lengths)))
    for columns, longest, words in zip(*groups, strict=True):
        counts = [lengths[column] for column in columns]
        assert max(counts) == longest
        assert (words is None) == (len(set(counts)) == 1)
        assert words is None or words.sum(dim=1).tolist() == counts
    cheapest = min(
        sum(max(run) * sum(length in run for length in lengths) for run in division)
        for division in partitions(sorted(set(lengths)), most)
    )
    assert padded_words(groups) == cheapest


def test_words_that_a_shorter_caption_lacks_are_zero():
    tokens, mask = torch.ones(2, 3, 2), torch.tensor([[True, True, True], [False, True, False]])
    groups = group_by_length(mask, max_groups=1)
    (words,) = real_words(tokens, mask, groups)
    assert words[:, :, 0].tolist() == [[1, 0, 0], [1, 1, 1]]
