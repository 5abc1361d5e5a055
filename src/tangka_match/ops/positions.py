"""Where in a sequence something stands, as numbers that go on for ever."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def sinusoidal_positions(length: int, dim: int, device: torch.device | None = None) -> Float[Tensor, "L D"]:
    """Sines and cosines of the position at geometrically falling frequencies: any length has a code.

    Components ``2j`` and ``2j + 1`` are sine and cosine of ``position / 10000^(2j / dim)`` (Vaswani et al., "Attention
    Is All You Need", arXiv 1706.03762, section 3.5). An odd ``dim`` ends with a sine.

    Args:
        length: Positions, from 0.
        dim: Components.
        device: Where to make them.

    Example:
        >>> sinusoidal_positions(2, 2)
        tensor([[0.0000, 1.0000],
                [0.8415, 0.5403]])
    """
    place = torch.arange(length, device=device, dtype=torch.float32)[:, None]
    angles = place * torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10_000) / dim))
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :dim]
