"""Projected squared differences of words and contexts, without storing the largest tensors of SGRAF."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.ops.numerics import at_least_float32

BLOCK_ELEMENTS = {"cpu": 2**19, "cuda": 2**26}
"""Elements per block of differences: fits the cache of a CPU, or keeps a GPU busy."""


def project_squared_difference(
    weights: Float[Tensor, "I W R"],
    regions: Float[Tensor, "I R D"],
    words: Float[Tensor, "W D"],
    weight: Float[Tensor, "S D"],
    bias: Float[Tensor, " S"],
) -> Float[Tensor, "I W S"]:
    r"""Compute :math:`A (\sum_r a_r v_r - w)^2 + b` for every image and word, with an element-wise square.

    The (I, W, D) differences are computed in blocks of a few images that stay in cache, and recomputed in the backward
    pass, so that they are never stored.

    Args:
        weights: Attention weights :math:`a` of each word over the regions.
        regions: Regions :math:`v`.
        words: Words :math:`w`.
        weight: Weight :math:`A` of the projection.
        bias: Bias :math:`b` of the projection.

    Returns:
        Projected differences in the dtype of ``regions``; differentiable once.

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
        # Sums over many blocks lose small terms in half precision.
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
    """Yield blocks of images and their (i, W, D) differences, in a buffer that the next block overwrites."""
    step = max(1, BLOCK_ELEMENTS.get(regions.device.type, 2**26) // words.numel())
    buffer = regions.new_empty(min(step, len(regions)), *words.shape)
    for start in range(0, len(regions), step):
        block = slice(start, start + step)
        part = regions[block]
        yield (
            block,
            torch.baddbmm(words.expand(len(part), -1, -1), weights[block], part, beta=-1, out=buffer[: len(part)]),
        )
