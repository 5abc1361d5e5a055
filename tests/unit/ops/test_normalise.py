import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangka_match.ops import at_least_float32, l2_normalise


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), dim=st.integers(-3, 2), exponent=st.integers(-9, 9))
def test_equals_the_formula(seed, dim, exponent):
    x = 10.0**exponent * torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(l2_normalise(x, dim=dim), x / (x.square().sum(dim, keepdim=True).sqrt() + 1e-8))


def test_eps_is_outside_the_root():
    assert l2_normalise(torch.tensor([1e-8, 0.0], dtype=torch.float64))[0].item() == pytest.approx(0.5)


def test_zero_vector_stays_zero_with_zero_gradient():
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    y = l2_normalise(x)
    y.sum().backward()
    assert (y[0] == 0).all()
    assert (x.grad[0] == 0).all()
    torch.testing.assert_close(x.grad[1], torch.tensor([4.0, -3.0]) / 125 * torch.tensor([1.0, 1.0]))


def test_gradient():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(l2_normalise, x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0], [300.0, 400.0]], dtype=dtype)  # the squares overflow in float16
    y = l2_normalise(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), torch.tensor([[0, 0], [0.6, 0.8], [0.6, 0.8]]).double(), atol=4e-3, rtol=0)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.float16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_at_least_float32(dtype, expected):
    assert at_least_float32(torch.ones(1, dtype=dtype)).dtype == expected
