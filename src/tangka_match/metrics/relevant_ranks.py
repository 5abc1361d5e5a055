"""Ranks where a query has more right answers than its own."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.errors import ShapeError
from tangka_match.metrics.ranks import BLOCK_ELEMENTS, Ranks, best_own_rank


def relevant_ranks(similarity: Float[Tensor, "I C"], relevant: Bool[Tensor, "I C"]) -> Ranks:
    """Rank the best right answer of every image and every caption, where any pair may be right.

    Equal scores rank as in `retrieval_ranks`, which this equals where ``relevant`` marks each caption's
    own image alone. More right answers never make a rank worse.

    Args:
        similarity: Scores, (I, C): rows images, columns captions, higher = closer, none of them NaN.
        relevant: (I, C), ``True`` where image and caption are right answers to each other; at least one in every row
            and every column.

    Returns:
        Ranks from 1, on the device of ``similarity``.

    Raises:
        ShapeError: If the two have not the same shape, or a query has no right answer.

    Example:
        Caption 1 is as good as caption 0 for image 0, which therefore finds a right answer first:

        >>> scores = torch.tensor([[0.5, 0.9], [0.1, 0.8]])
        >>> relevant_ranks(scores, torch.tensor([[True, False], [False, True]]))
        Ranks(i2t=tensor([2, 1]), t2i=tensor([1, 2]))
        >>> relevant_ranks(scores, torch.tensor([[True, True], [False, True]]))
        Ranks(i2t=tensor([1, 1]), t2i=tensor([1, 1]))
    """
    if similarity.shape != relevant.shape:
        raise ShapeError(
            f"similarity is {tuple(similarity.shape)} and relevant {tuple(relevant.shape)}; both must be (I, C)"
        )
    for axis, kind in ((1, "image"), (0, "caption")):
        without = (~relevant.any(dim=axis)).nonzero().flatten().tolist()
        if without:
            raise ShapeError(f"{len(without)} {kind}(s) have no right answer, the first is number {without[0]}")
    return Ranks(_best_ranks(similarity, relevant), _best_ranks(similarity.T, relevant.T))


def _best_ranks(scores: Float[Tensor, "Q N"], relevant: Bool[Tensor, "Q N"]) -> Int[Tensor, " Q"]:
    """Rank of the first right answer of every row, in blocks of rows that bound the memory."""
    block = max(1, BLOCK_ELEMENTS // scores.shape[1])
    parts = zip(scores.split(block), relevant.split(block), strict=True)
    return torch.cat([best_own_rank(rows, right) for rows, right in parts])
