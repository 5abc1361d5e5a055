import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangka_match.ops import attention_pool, k_max_pool, masked_max, masked_mean, masked_softmax, tfidf_overlap


def test_tfidf_overlap_by_hand():
    """Of three captions, words 5 and 7 occur in one (idf log 2), 6 in two (log 4/3), 1 in all (0)."""
    ids = torch.tensor([[1, 5, 6, 0], [1, 6, 7, 7], [1, 8, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    rare, common = math.log(2), math.log(4 / 3)
    expected = common**2 / math.hypot(rare, common) / math.hypot(common, 2 * rare)
    overlap = tfidf_overlap(ids, mask)
    assert overlap[0, 1].item() == pytest.approx(expected, rel=1e-5)
    assert overlap[0, 2].item() == overlap[1, 2].item() == 0
    assert overlap.diagonal().tolist() == pytest.approx([1, 1, 1], rel=1e-5)
    assert torch.equal(overlap, overlap.T)


def test_tfidf_overlap_ignores_padding_and_order():
    mask = torch.tensor([[True, True, False], [True, True, False]])
    ids = torch.tensor([[5, 6, 9], [6, 5, 8]])
    assert tfidf_overlap(torch.cat([ids, ids + 20]), mask.repeat(2, 1))[0, 1].item() == pytest.approx(1, rel=1e-5)


def test_tfidf_overlap_ignores_length_and_common_words():
    """Captions 0 and 1 have words 5 and 6 in equal proportion; in caption 2, word 6 is twice as frequent."""
    ids = torch.tensor(
        [[1, 5, 6, 0, 0, 0, 0, 0], [1, 1, 1, 1, 5, 6, 5, 6], [1, 5, 6, 6, 0, 0, 0, 0], [1, 7, 0, 0, 0, 0, 0, 0]]
    )
    overlap = tfidf_overlap(ids, ids > 0)
    assert overlap[0, 1].item() == pytest.approx(1, rel=1e-5)
    assert overlap[0, 2].item() == pytest.approx(3 / math.sqrt(2 * 5), rel=1e-5)


def test_tfidf_overlap_of_common_words_is_zero():
    """Both words occur in both captions, so that they have an idf of 0."""
    assert not tfidf_overlap(torch.tensor([[1, 5, 2], [2, 1, 5]]), torch.ones(2, 3, dtype=torch.bool)).any()


def test_tfidf_overlap_is_float32_under_autocast():
    ids, mask = torch.randint(4, 40, (6, 9), generator=torch.Generator().manual_seed(0)), torch.ones(6, 9).bool()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = tfidf_overlap(ids, mask)
    assert torch.equal(found, tfidf_overlap(ids, mask))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), items=st.integers(1, 4), length=st.integers(1, 6), k=st.integers(1, 8))
def test_k_max_pool_equals_a_sort(seed, items, length, k):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(items, length, 3, generator=generator, dtype=torch.float64)
    mask = torch.rand(items, length, generator=generator) < 0.6
    found = k_max_pool(x.masked_fill(~mask[:, :, None], 1e6), mask, k)
    for row, values, real in zip(found, x, mask, strict=True):
        ordered = values[real].sort(dim=0, descending=True).values[:k]
        expected = ordered.mean(dim=0) if real.any() else torch.zeros(3, dtype=torch.float64)
        torch.testing.assert_close(row, expected)


def test_k_max_pool_covers_maximum_and_mean():
    x, mask = torch.randn(3, 5, 2), torch.ones(3, 5, dtype=torch.bool)
    torch.testing.assert_close(k_max_pool(x, mask, 1), masked_max(x, mask))
    torch.testing.assert_close(k_max_pool(x, mask, 5), masked_mean(x, mask))


reductions = pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (masked_mean, lambda rows: rows.mean(0)),
        (masked_max, lambda rows: rows.amax(0)),
        (lambda x, mask: attention_pool(x, x[:, :, 0], mask), lambda rows: torch.softmax(rows[:, 0], 0) @ rows),
        (
            lambda x, mask: masked_softmax(x, mask[:, :, None], dim=1).square().sum(1),
            lambda rows: rows.softmax(0).square().sum(0),
        ),
    ],
    ids=["mean", "max", "attention_pool", "softmax"],
)


def draw(seed, items, length, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = 5 * torch.randn(items, length, 3, generator=generator, dtype=torch.float64)
    return x.to(dtype), torch.rand(items, length, generator=generator) < 0.6


@reductions
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), items=st.integers(1, 4), length=st.integers(1, 6))
def test_reductions_ignore_masked_entries(ours, plain, seed, items, length):
    """Including infinite and NaN entries."""
    x, mask = draw(seed, items, length)
    x[~mask] = torch.tensor([1e6, float("inf"), float("nan")], dtype=x.dtype)[seed % 3]
    found = ours(x, mask)
    for row, values, real in zip(found, x, mask, strict=True):
        expected = plain(values[real]) if real.any() else torch.zeros(3, dtype=torch.float64)
        torch.testing.assert_close(row, expected)


@reductions
def test_reductions_have_zero_gradient_outside_the_mask(ours, plain):
    x, mask = draw(seed=0, items=4, length=5)
    mask[1] = False
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ours(x, mask), x)
    ours(x, mask).square().sum().backward()
    assert (x.grad[~mask] == 0).all()
    assert (x.grad[mask] != 0).any()


@reductions
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reductions_in_half_precision(ours, plain, dtype):
    x, mask = draw(seed=0, items=4, length=5, dtype=dtype)
    found = ours(x, mask)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), ours(x.double(), mask), atol=0.05, rtol=0.02)


def test_masked_softmax_sums_to_one():
    x, mask = draw(seed=0, items=6, length=5)
    mask[2] = False
    torch.testing.assert_close(masked_softmax(x[:, :, 0], mask).sum(1), mask.any(1).double())
