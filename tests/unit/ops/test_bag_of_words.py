import math

import pytest
import torch

from tangka_match.ops import tfidf_overlap


def test_worked_by_hand():
    """Words 5 and 7 are in one caption of three (rarity log 2), 6 in two (log 4/3), 1 in all (0)."""
    ids = torch.tensor([[1, 5, 6, 0], [1, 6, 7, 7], [1, 8, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    rare, common = math.log(2), math.log(4 / 3)
    expected = common**2 / math.hypot(rare, common) / math.hypot(common, 2 * rare)
    overlap = tfidf_overlap(ids, mask)
    assert overlap[0, 1].item() == pytest.approx(expected, rel=1e-5)
    assert overlap[0, 2].item() == overlap[1, 2].item() == 0
    assert overlap.diagonal().tolist() == pytest.approx([1, 1, 1], rel=1e-5)
    assert torch.equal(overlap, overlap.T)


def test_padding_and_order_have_no_influence():
    mask = torch.tensor([[True, True, False], [True, True, False]])
    ids = torch.tensor([[5, 6, 9], [6, 5, 8]])
    assert tfidf_overlap(torch.cat([ids, ids + 20]), mask.repeat(2, 1))[0, 1].item() == pytest.approx(1, rel=1e-5)


def test_proportions_count_and_not_lengths_or_common_words():
    """Captions 0 and 1 have 5 and 6 in equal parts, and the common 1 once and four times; 2 has 6 twice as often."""
    ids = torch.tensor(
        [[1, 5, 6, 0, 0, 0, 0, 0], [1, 1, 1, 1, 5, 6, 5, 6], [1, 5, 6, 6, 0, 0, 0, 0], [1, 7, 0, 0, 0, 0, 0, 0]]
    )
    overlap = tfidf_overlap(ids, ids > 0)
    assert overlap[0, 1].item() == pytest.approx(1, rel=1e-5)
    assert overlap[0, 2].item() == pytest.approx(3 / math.sqrt(2 * 5), rel=1e-5)


def test_captions_of_nothing_but_common_words_overlap_with_none():
    """Both words are in both captions: equal bags overlap in nothing that counts, nor with themselves."""
    assert not tfidf_overlap(torch.tensor([[1, 5, 2], [2, 1, 5]]), torch.ones(2, 3, dtype=torch.bool)).any()


def test_is_float32_under_autocast():
    ids, mask = torch.randint(4, 40, (6, 9), generator=torch.Generator().manual_seed(0)), torch.ones(6, 9).bool()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = tfidf_overlap(ids, mask)
    assert torch.equal(found, tfidf_overlap(ids, mask))
