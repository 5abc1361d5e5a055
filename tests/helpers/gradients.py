"""Comparison of the gradients of two implementations."""

from collections.abc import Iterable

import torch
from torch import Tensor


def assert_same_gradients(found: Tensor, expected: Tensor, parameters: Iterable[Tensor], **tolerance: float) -> None:
    """Compare the gradients of two tensors of one shape, with a different weight for each entry."""
    weights = torch.linspace(-1, 1, expected.numel(), dtype=expected.dtype).view_as(expected)
    parameters = list(parameters)
    ours, theirs = (
        torch.autograd.grad((values * weights).sum(), parameters, retain_graph=True) for values in (found, expected)
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, **tolerance)
