"""`GaussianKernel`: the features approximate the kernel."""

import pytest
import torch

from tangka_match.models.gaussian_kernel import COMPONENTS, LANDMARKS, GaussianKernel


def draw(count, dim=6, seed=0):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def fitted(vectors):
    kernel = GaussianKernel(vectors.shape[1])
    kernel.fit(vectors, torch.Generator().manual_seed(0))
    return kernel


@pytest.mark.parametrize(("count", "error"), [(40, 1e-5), (LANDMARKS + 400, 1e-3)])
def test_dot_products_are_the_kernel(count, error):
    """Exactly for landmarks, closely for other vectors of their distribution."""
    vectors = draw(count)
    features = fitted(vectors)(vectors)
    assert features.shape == (count, COMPONENTS)
    spread = torch.cdist(vectors, vectors).square().mean()
    expected = torch.exp(-torch.cdist(vectors, vectors).square() / spread)
    assert (features @ features.T - expected).abs().mean() < error


def test_equal_vectors_have_equal_features():
    kernel = fitted(torch.ones(20, 3))
    features = kernel(torch.ones(4, 3))
    assert features.isfinite().all()
    torch.testing.assert_close(features, features[:1].expand_as(features))
    assert features[0].square().sum().item() == pytest.approx(1.0, abs=1e-4)


def test_a_second_fit_forgets_the_first():
    kernel = fitted(draw(300))
    kernel.fit(draw(20, seed=1), torch.Generator().manual_seed(0))
    torch.testing.assert_close(kernel.state_dict(), fitted(draw(20, seed=1)).state_dict())


def test_before_the_fit_features_are_zero():
    assert not GaussianKernel(3)(draw(5, 3)).any()
