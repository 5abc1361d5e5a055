"""Bitwise comparison of nested states, such as those of a checkpoint."""

from typing import Any

import torch


def same(one: Any, other: Any) -> bool:
    """Return whether two nested states are equal, tensors bitwise."""
    match one:
        case dict():
            return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
        case list() | tuple():
            return len(one) == len(other) and all(map(same, one, other))
        case torch.Tensor():
            return torch.equal(one, other)
    return one == other
