import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangka_match.ops import attention_pool, masked_max, masked_mean, masked_softmax

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
def test_equals_the_plain_function_on_real_entries(ours, plain, seed, items, length):
    """Whatever stands in the others, NaN too."""
    x, mask = draw(seed, items, length)
    x[~mask] = torch.tensor([1e6, float("inf"), float("nan")], dtype=x.dtype)[seed % 3]
    found = ours(x, mask)
    for row, values, real in zip(found, x, mask, strict=True):
        expected = plain(values[real]) if real.any() else torch.zeros(3, dtype=torch.float64)
        torch.testing.assert_close(row, expected)


@reductions
def test_gradient_is_exact_and_zero_outside_the_mask(ours, plain):
    x, mask = draw(seed=0, items=4, length=5)
    mask[1] = False
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ours(x, mask), x)
    ours(x, mask).square().sum().backward()
    assert (x.grad[~mask] == 0).all()
    assert (x.grad[mask] != 0).any()


@reductions
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(ours, plain, dtype):
    x, mask = draw(seed=0, items=4, length=5, dtype=dtype)
    found = ours(x, mask)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), ours(x.double(), mask), atol=0.05, rtol=0.02)


def test_softmax_weights_add_up_to_one():
    x, mask = draw(seed=0, items=6, length=5)
    mask[2] = False
    torch.testing.assert_close(masked_softmax(x[:, :, 0], mask).sum(1), mask.any(1).double())
