"""Sums over the processes of a distributed run, for statistics of the global batch."""

from typing import Any

import torch
from torch import Tensor, distributed


def in_several_processes() -> bool:
    """Return whether this process trains together with others."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def sum_over_processes(x: Tensor) -> Tensor:
    """Sum a tensor over all processes of a distributed run, with gradients; the identity in a single process.

    The gradient of the sum is itself the sum of the gradients of all processes. All processes must call this in the
    same order, with equal shapes, and call backward or not.

    >>> sum_over_processes(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    if not in_several_processes():
        return x
    total: Tensor = _Sum.apply(x)
    return total


class _Sum(torch.autograd.Function):
    """Sum of a tensor over all processes; ``torch.distributed.nn`` has one that is deprecated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(x: Tensor) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total
