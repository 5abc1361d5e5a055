import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangka_match.ops import k_max_pool, masked_max, masked_mean


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), items=st.integers(1, 4), length=st.integers(1, 6), k=st.integers(1, 8))
def test_equals_the_mean_of_the_sorted_real_values(seed, items, length, k):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(items, length, 3, generator=generator, dtype=torch.float64)
    mask = torch.rand(items, length, generator=generator) < 0.6
    found = k_max_pool(x.masked_fill(~mask[:, :, None], 1e6), mask, k)
    for row, values, real in zip(found, x, mask, strict=True):
        ordered = values[real].sort(dim=0, descending=True).values[:k]
        expected = ordered.mean(dim=0) if real.any() else torch.zeros(3, dtype=torch.float64)
        torch.testing.assert_close(row, expected)


def test_between_maximum_and_mean():
    x, mask = torch.randn(3, 5, 2), torch.ones(3, 5, dtype=torch.bool)
    torch.testing.assert_close(k_max_pool(x, mask, 1), masked_max(x, mask))
    torch.testing.assert_close(k_max_pool(x, mask, 5), masked_mean(x, mask))
