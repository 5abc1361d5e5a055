import pytest
import torch
from torch.distributions import Normal

from tangka_match.ops import low_component_share
from tangka_match.ops.two_gaussians import _posterior


def test_the_posterior_by_hand():
    """Half way between two equal Gaussians it is their shares; at a mean, shares and the density two deviations off."""
    means, variances = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0])
    shares = torch.tensor([0.25, 0.75])
    found = _posterior(torch.tensor([1.0, 0.0]), means, variances, shares)
    torch.testing.assert_close(found[0], shares)
    densities = shares * Normal(means, variances.sqrt()).log_prob(torch.tensor(0.0)).exp()
    torch.testing.assert_close(found[1], densities / densities.sum())


def test_two_heaps_are_told_apart():
    generator = torch.Generator().manual_seed(0)
    low, high = torch.randn(800, generator=generator), 8 + 2 * torch.randn(200, generator=generator)
    share = low_component_share(torch.cat([low, high]))
    assert share[:800].mean() > 0.98
    assert share[800:].mean() < 0.03


def test_scale_and_shift_of_the_numbers_do_not_count():
    values = torch.rand(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(low_component_share(values * 40 - 7), low_component_share(values))


def test_a_lower_number_never_has_the_smaller_probability():
    """A narrow heap low down in a wide one: under the wide Gaussian alone the lowest numbers would be unlikely low."""
    generator = torch.Generator().manual_seed(2)
    values = torch.cat([1 + 0.02 * torch.randn(300, generator=generator), 1.5 + torch.randn(300, generator=generator)])
    ordered = low_component_share(values.sort().values)
    assert (ordered.diff() <= 1e-12).all()
    assert ordered[0] > 0.9
    assert ordered[-1] < 0.1


@pytest.mark.parametrize("count", [1, 4])
def test_equal_numbers_are_all_low(count):
    assert low_component_share(torch.full((count,), 3.0)).tolist() == [1.0] * count
