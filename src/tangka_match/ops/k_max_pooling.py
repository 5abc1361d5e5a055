"""Between the mean and the maximum: the mean of the largest values."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def k_max_pool(x: Float[Tensor, "N L D"], mask: Bool[Tensor, "N L"], k: int) -> Float[Tensor, "N D"]:
    """Mean of the ``k`` largest values of every dimension over the real positions of every sequence.

    A sequence of fewer than ``k`` positions gives its mean; ``k = 1`` is the maximum. K-max pooling as in Chen et al.,
    "Learning the Best Pooling Strategy for Visual Semantic Embedding", arXiv 2011.04305. Positions outside
    the mask get a gradient of exactly zero, and a sequence without a real position gives zeros.

    Example:
        >>> x = torch.tensor([[[1.0], [4.0], [2.0], [99.0]]])
        >>> k_max_pool(x, torch.tensor([[True, True, True, False]]), k=2)
        tensor([[3.]])
    """
    counted = mask.sum(dim=1).clamp(max=k)
    largest = x.masked_fill(~mask[:, :, None], torch.finfo(x.dtype).min).topk(min(k, x.shape[1]), dim=1).values
    real = torch.arange(largest.shape[1], device=x.device) < counted[:, None]
    return largest.masked_fill(~real[:, :, None], 0).sum(dim=1) / counted.clamp(min=1)[:, None]
