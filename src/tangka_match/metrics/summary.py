"""The numbers that retrieval papers report, by the names that this project logs."""

from typing import TypeVar

from torch import Tensor

from tangka_match.metrics.rank_statistics import mean_rank, median_rank
from tangka_match.metrics.ranks import Ranks
from tangka_match.metrics.recall_at_k import recall_at_k

CUTOFFS = (1, 5, 10)
"""Cut-offs of recall that the field reports."""
RECALLS = tuple(f"{direction}_r{k}" for direction in ("i2t", "t2i") for k in CUTOFFS)
RANK_STATISTICS = tuple(f"{direction}_{kind}_rank" for direction in ("i2t", "t2i") for kind in ("median", "mean"))
HIGHER_IS_BETTER = ("mean_r1", "rsum", *RECALLS)
"""Of what `summarise` returns; of the others, ``RANK_STATISTICS``, a lower one is better."""

Value = TypeVar("Value", float, Tensor)


def summarise(ranks: Ranks) -> dict[str, float]:
    """Summarise both directions.

    Args:
        ranks: What `retrieval_ranks` returned.

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
    """Return ``mean_r1`` and ``rsum`` of the six recalls, as numbers or, resampled, as tensors."""
    recalls = [values[name] for name in RECALLS]
    rsum = recalls[0]
    for recall in recalls[1:]:
        rsum = rsum + recall
    return {"mean_r1": (values["i2t_r1"] + values["t2i_r1"]) / 2, "rsum": rsum}
