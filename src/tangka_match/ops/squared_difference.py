"""Projected squared differences of words and what they see, without keeping the largest tensors of SGRAF."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.ops.numerics import at_least_float32

BLOCK_ELEMENTS = {"cpu": 2**19, "cuda": 2**26}
"""Numbers in a block of differences: what stays in a CPU's cache, or what keeps a GPU busy."""


def project_squared_difference(
    weights: Float[Tensor, "I W R"],
    regions: Float[Tensor, "I R D"],
    words: Float[Tensor, "W D"],
    weight: Float[Tensor, "S D"],
    bias: Float[Tensor, " S"],
) -> Float[Tensor, "I W S"]:
    r"""For every image and word :math:`A (\sum_r a_r v_r - w)^2 + b`, the square taken component by component.

    The (I, W, D) differences are made a few images at a time, used while they are in cache, and made again in the
    backward pass: neither a forward nor a backward pass ever holds them all. Making them again costs R products a
    component, where the projection costs S.

    Args:
        weights: How much of each region a word sees, :math:`a`.
        regions: What each region shows, :math:`v`.
        words: What each word is compared with, :math:`w`.
        weight: Of the projection, :math:`A`.
        bias: Of the projection, :math:`b`.

    Returns:
        In the dtype of ``regions``. It can be differentiated once.

    Example:
        >>> weights, regions, words = torch.ones(1, 1, 1), torch.tensor([[[3.0, 5.0]]]), torch.tensor([[1.0, 2.0]])
        >>> project_squared_difference(weights, regions, words, torch.eye(2), torch.zeros(2))
        tensor([[[4., 9.]]])
    """
    return _ProjectSquaredDifference.apply(weights, regions, words, weight, bias)


class _ProjectSquaredDifference(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        weights, regions, words, weight, bias = inputs
        ctx.save_for_backward(weights, regions, words, weight)
        result = regions.new_empty(len(regions), len(words), len(weight))
        with torch.autocast(regions.device.type, enabled=False):
            for block, difference in _differences(weights, regions, words):
                square = difference.square_().flatten(0, 1)
                torch.addmm(bias, square, weight.T, out=result[block].flatten(0, 1))
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        weights, regions, words, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        to_weights, to_regions = regions.new_empty(weights.shape), regions.new_empty(regions.shape)
        # Sums over blocks, in half precision, would lose what the later blocks add.
        to_words = torch.zeros_like(at_least_float32(words))
        to_weight = torch.zeros_like(at_least_float32(weight))
        with torch.autocast(regions.device.type, enabled=False):
            doubled = 2 * weight
            inner = None
            for block, difference in _differences(weights, regions, words):
                outer = gradient[block].flatten(0, 1)
                if inner is None or len(inner) != len(outer):
                    inner = torch.empty_like(difference).flatten(0, 1)
                torch.mm(outer, doubled, out=inner)
                through = inner.unflatten(0, difference.shape[:2]).mul_(difference)
                square = difference.square_().flatten(0, 1)
                to_weight += outer.T @ square
                to_words -= through.sum(dim=0)
                torch.bmm(through, regions[block].mT, out=to_weights[block])
                torch.bmm(weights[block].mT, through, out=to_regions[block])
        to_bias = gradient.sum(dim=(0, 1))
        return to_weights, to_regions, to_words.to(words.dtype), to_weight.to(weight.dtype), to_bias


def _differences(weights: Tensor, regions: Tensor, words: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield images and their (i, W, D) differences, in one buffer that the next block overwrites."""
    step = max(1, BLOCK_ELEMENTS.get(regions.device.type, 2**26) // words.numel())
    buffer = regions.new_empty(min(step, len(regions)), *words.shape)
    for start in range(0, len(regions), step):
        block = slice(start, start + step)
        part = regions[block]
        yield (
            block,
            torch.baddbmm(words.expand(len(part), -1, -1), weights[block], part, beta=-1, out=buffer[: len(part)]),
        )
