import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal

from tangka_match.ops import (
    at_least_float32,
    bound_primitive_caches,
    computes_bfloat16,
    full_precision,
    l2_normalise,
    low_component_share,
    tf32,
)
from tangka_match.ops.numerics import _posterior


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), dim=st.integers(-3, 2), exponent=st.integers(-9, 9))
def test_l2_normalise_equals_the_formula(seed, dim, exponent):
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


VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")

PRODUCTS_OF_MANY_SHAPES = """
import os, sys, torch
from tangka_match.ops import bound_primitive_caches
if sys.argv[1] == "bound":
    bound_primitive_caches()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
torch.set_num_threads(1)
weight, rows = torch.ones(256, 256, dtype=torch.bfloat16), torch.ones(600, 256, dtype=torch.bfloat16)
torch.nn.functional.linear(rows, weight)
before = resident()
for count in range(1, 600):
    torch.nn.functional.linear(rows[:count], weight)
print(resident() - before)
"""


def megabytes_grown(choice):
    command = [sys.executable, "-c", PRODUCTS_OF_MANY_SHAPES, choice]
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def onednn_multiplies():
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.skipif(not onednn_multiplies(), reason="on this CPU bfloat16 is not multiplied by oneDNN")
def test_bound_primitive_caches_limits_memory():
    assert megabytes_grown("bound") < 0.5 * megabytes_grown("as it is")


def test_bound_primitive_caches_keeps_user_settings(monkeypatch):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(VARIABLES[0], "7")
    bound_primitive_caches()
    assert [os.environ[variable] for variable in VARIABLES] == ["7", "128"]


def test_posterior_by_hand():
    """Half way between two Gaussians of equal variance, the posterior equals the shares."""
    means, variances = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0])
    shares = torch.tensor([0.25, 0.75])
    found = _posterior(torch.tensor([1.0, 0.0]), means, variances, shares)
    torch.testing.assert_close(found[0], shares)
    densities = shares * Normal(means, variances.sqrt()).log_prob(torch.tensor(0.0)).exp()
    torch.testing.assert_close(found[1], densities / densities.sum())


def test_low_component_share_separates_two_clusters():
    generator = torch.Generator().manual_seed(0)
    low, high = torch.randn(800, generator=generator), 8 + 2 * torch.randn(200, generator=generator)
    share = low_component_share(torch.cat([low, high]))
    assert share[:800].mean() > 0.98
    assert share[800:].mean() < 0.03


def test_low_component_share_is_invariant_to_scale_and_shift():
    values = torch.rand(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(low_component_share(values * 40 - 7), low_component_share(values))


def test_low_component_share_is_monotonic():
    """A narrow low component and a wide one, which would claim the lowest values."""
    generator = torch.Generator().manual_seed(2)
    values = torch.cat([1 + 0.02 * torch.randn(300, generator=generator), 1.5 + torch.randn(300, generator=generator)])
    ordered = low_component_share(values.sort().values)
    assert (ordered.diff() <= 1e-12).all()
    assert ordered[0] > 0.9
    assert ordered[-1] < 0.1


@pytest.mark.parametrize("count", [1, 4])
def test_low_component_share_of_equal_values_is_one(count):
    assert low_component_share(torch.full((count,), 3.0)).tolist() == [1.0] * count


def tf32_flags():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_of_all_products_is_set_and_restored(monkeypatch, allowed):
    """By default torch allows it in cuDNN only."""
    before = tf32_flags()
    assert before == (False, True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ZeroDivisionError), tf32(allowed=allowed):
        assert tf32_flags() == (allowed, allowed)
        1 / 0  # noqa: B018
    assert tf32_flags() == before


def test_tf32_without_a_gpu_changes_nothing():
    with tf32(allowed=True):
        assert tf32_flags() == (False, True)


def test_full_precision_turns_autocast_and_tf32_off(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    ones = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16), tf32(allowed=True), full_precision("cpu"):
        assert (ones @ ones).dtype == torch.float32
        assert tf32_flags() == (False, False)


def test_tf32_stays_off_until_the_last_of_overlapping_blocks_ends(monkeypatch):
    """As with two requests of the search page: the first to end must not let the other one compute with TF32."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before, first, second = tf32_flags(), tf32(allowed=False), tf32(allowed=False)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert tf32_flags() == (False, False)
    second.__exit__(None, None, None)
    assert tf32_flags() == before


def test_tf32_of_a_surrounding_block_is_restored(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with tf32(allowed=True):
        with tf32(allowed=False):
            assert tf32_flags() == (False, False)
        assert tf32_flags() == (True, True)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bfloat16_of_a_gpu(monkeypatch, capability, expected):
    """NVIDIA GPUs compute it since Ampere; of two GPUs the one that is asked for counts."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda gpu: capability if gpu.index == 1 else (7, 0))
    assert computes_bfloat16(torch.device("cuda:1")) is expected


def test_bfloat16_without_onednn(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not computes_bfloat16(torch.device("cpu"))


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the flags of the CPU are read from /proc/cpuinfo")
def test_bfloat16_of_a_cpu_without_avx512():
    flags = Path("/proc/cpuinfo").read_text().split()
    if "avx512bw" in flags or "asimd" in flags:
        pytest.skip("this CPU may have bfloat16 instructions")
    assert not computes_bfloat16(torch.device("cpu"))
