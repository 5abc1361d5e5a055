import pytest
import torch

from tangka_match.ops import project_squared_difference, squared_difference


def arguments(images, words, regions=3, dim=5, sim=2):
    generator = torch.Generator().manual_seed(0)
    shapes = (images, words, regions), (images, regions, dim), (words, dim), (sim, dim), (sim,)
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.fixture(params=[1, 23, 10**6])
def block(request, monkeypatch):
    """Set the block size to one image, some images, or all images."""
    monkeypatch.setitem(squared_difference.BLOCK_ELEMENTS, "cpu", request.param)


def test_equals_the_formula(block):
    weights, regions, words, weight, bias = arguments(images=5, words=2)
    found = project_squared_difference(weights, regions, words, weight, bias)
    torch.testing.assert_close(found, (weights @ regions - words).square() @ weight.T + bias)


def test_gradients(block):
    assert torch.autograd.gradcheck(project_squared_difference, arguments(images=5, words=2))


def test_gradients_of_transposed_weights(block):
    """As in SGRAF, where the regions are the middle axis."""
    turned, *others = arguments(images=4, words=3)
    assert torch.autograd.gradcheck(
        lambda x, *rest: project_squared_difference(x.mT, *rest),
        (turned.detach().mT.contiguous().requires_grad_(), *others),
    )


def test_second_derivative_is_refused():
    inputs = arguments(images=2, words=2)
    (gradient,) = torch.autograd.grad(project_squared_difference(*inputs).square().sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
