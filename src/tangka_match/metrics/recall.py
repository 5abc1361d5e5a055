"""Recall@K, median and mean rank, and the summary that retrieval papers report."""

from typing import TypeVar

from jaxtyping import Int
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.metric_names import CUTOFFS, PRIMARY_METRIC, RECALLS
from tangka_match.metrics.ranks import Ranks

Value = TypeVar("Value", float, Tensor)


def recall_at_k(ranks: Int[Tensor, " N"], k: int) -> float:
    """Compute recall@K: the share of queries with at least one correct answer in the top K, in percent.

    This is the R@K of image–caption retrieval: with five captions per image, one of them in the top K suffices.

    Args:
        ranks: Rank of the best correct answer of each query, from 1, (N,), N >= 1; ties are resolved by
            `retrieval_ranks`.
        k: Cut-off, >= 1.

    Returns:
        Percent, in [0, 100].

    Raises:
        ConfigError: If ``k`` is below 1.

    Example:
        >>> import torch
        >>> recall_at_k(torch.tensor([1, 3, 12, 5]), k=5)
        75.0
    """
    if k < 1:
        raise ConfigError(f"k={k} must be >= 1: it is the cut-off of recall@K")
    return 100.0 * int((ranks <= k).sum()) / len(ranks)


def median_rank(ranks: Int[Tensor, " N"]) -> float:
    """Compute the median rank, from 1; lower is better.

    For an even number of queries it is the mean of the two middle ranks. The evaluation published with VSE++, SCAN and
    SGRAF rounds this mean down: ``floor(median_rank(ranks))``.

    Args:
        ranks: Rank of the best correct answer of each query, from 1, (N,), N >= 1.

    Example:
        >>> import torch
        >>> median_rank(torch.tensor([9, 1, 4])), median_rank(torch.tensor([9, 1, 4, 5]))
        (4.0, 4.5)
    """
    ordered = ranks.sort().values
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return (int(low) + int(high)) / 2


def mean_rank(ranks: Int[Tensor, " N"]) -> float:
    """Compute the mean rank, from 1; lower is better, and sensitive to a few queries with high ranks.

    Args:
        ranks: Rank of the best correct answer of each query, from 1, (N,), N >= 1.

    Example:
        >>> import torch
        >>> mean_rank(torch.tensor([1, 1, 1, 97]))
        25.0
    """
    return int(ranks.sum()) / len(ranks)


def summarise(ranks: Ranks) -> dict[str, float]:
    """Summarise the ranks of both directions.

    Args:
        ranks: Ranks from `retrieval_ranks`.

    Returns:
        ``i2t_r1``, ``i2t_r5``, ``i2t_r10`` in percent, ``i2t_median_rank``, ``i2t_mean_rank`` from 1; the same for
        ``t2i``; ``mean_r1``, the mean of the two R@1; ``rsum``, the sum of the six recalls, in [0, 600].

    Example:
        >>> import torch
        >>> summary = summarise(Ranks(i2t=torch.tensor([1, 3]), t2i=torch.tensor([1, 2, 2, 11])))
        >>> summary["i2t_r1"], summary["t2i_r1"], summary["mean_r1"], summary["t2i_r10"], summary["rsum"]
        (50.0, 25.0, 37.5, 75.0, 425.0)
    """
    values: dict[str, float] = {}
    for direction, found in (("i2t", ranks.i2t), ("t2i", ranks.t2i)):
        values |= {f"{direction}_r{k}": recall_at_k(found, k) for k in CUTOFFS}
        values[f"{direction}_median_rank"] = median_rank(found)
        values[f"{direction}_mean_rank"] = mean_rank(found)
    return values | totals(values)


def totals(values: dict[str, Value]) -> dict[str, Value]:
    """Compute ``mean_r1`` and ``rsum`` from the six recalls.

    Args:
        values: The recalls by name; numbers, or tensors with one value per resample of `analysis.significance`.
    """
    recalls = [values[name] for name in RECALLS]
    rsum = recalls[0]
    for recall in recalls[1:]:
        rsum = rsum + recall
    return {PRIMARY_METRIC: (values["i2t_r1"] + values["t2i_r1"]) / 2, "rsum": rsum}
