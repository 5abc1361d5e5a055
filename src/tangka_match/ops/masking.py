"""Mean, maximum and softmax over the real entries of padded sequences.

Entries outside the mask have no influence on the result and get a gradient of exactly zero. A sequence without any
real entry gives zeros, not NaN.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def masked_mean(x: Float[Tensor, "N L D"], mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N D"]:
    """Mean over the real positions of every sequence.

    Example:
        >>> x = torch.tensor([[[1.0], [3.0], [99.0]]])
        >>> masked_mean(x, torch.tensor([[True, True, False]]))
        tensor([[2.]])
    """
    total = x.masked_fill(~mask[:, :, None], 0).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)


def masked_max(x: Float[Tensor, "N L D"], mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N D"]:
    """Largest value of every dimension over the real positions of every sequence.

    Example:
        >>> x = torch.tensor([[[1.0], [3.0], [99.0]]])
        >>> masked_max(x, torch.tensor([[True, True, False]]))
        tensor([[3.]])
    """
    largest = x.masked_fill(~mask[:, :, None], torch.finfo(x.dtype).min).amax(dim=1)
    return largest.masked_fill(~mask.any(dim=1, keepdim=True), 0)


def masked_softmax(
    logits: Float[Tensor, "*shape"], mask: Bool[Tensor, "..."], dim: int = -1
) -> Float[Tensor, "*shape"]:
    """Softmax over the real entries along ``dim``; the others get a weight of exactly zero.

    Args:
        logits: Scores of any shape.
        mask: ``True`` where a score is real; of a shape that broadcasts to the one of ``logits``.
        dim: The axis along which the weights add up to one.

    Example:
        >>> masked_softmax(torch.tensor([0.0, 0.0, 99.0]), torch.tensor([True, True, False]))
        tensor([0.5000, 0.5000, 0.0000])
    """
    lowest = torch.finfo(logits.dtype).min
    return logits.masked_fill(~mask, lowest).softmax(dim=dim).masked_fill(~mask, 0)
