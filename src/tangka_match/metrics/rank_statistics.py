"""Median and mean rank."""

from jaxtyping import Int
from torch import Tensor


def median_rank(ranks: Int[Tensor, " N"]) -> float:
    """Median rank of the right answers, from 1; lower is better.

    Between two middle ranks it is their mean. The evaluation published with VSE++, SCAN and SGRAF rounds that mean
    down: its median is ``floor(median_rank(ranks))``, the same number for an odd count of queries.

    Args:
        ranks: Rank of the best right answer of every query, from 1, (N,), N >= 1.

    Example:
        >>> import torch
        >>> median_rank(torch.tensor([9, 1, 4])), median_rank(torch.tensor([9, 1, 4, 5]))
        (4.0, 4.5)
    """
    ordered = ranks.sort().values
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return (int(low) + int(high)) / 2


def mean_rank(ranks: Int[Tensor, " N"]) -> float:
    """Mean rank of the right answers, from 1; lower is better, and a few lost queries move it much.

    Args:
        ranks: Rank of the best right answer of every query, from 1, (N,), N >= 1.

    Example:
        >>> import torch
        >>> mean_rank(torch.tensor([1, 1, 1, 97]))
        25.0
    """
    return int(ranks.sum()) / len(ranks)
