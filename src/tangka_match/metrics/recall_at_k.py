"""Recall at K."""

from jaxtyping import Int
from torch import Tensor

from tangka_match.errors import ConfigError


def recall_at_k(ranks: Int[Tensor, " N"], k: int) -> float:
    """Share of queries with at least one right answer among the first K, in percent.

    This is the R@K of image–caption retrieval: with five captions an image, one of them in the first K suffices.
    How equal scores rank was settled by `retrieval_ranks`.

    Args:
        ranks: Rank of the best right answer of every query, from 1, (N,), N >= 1.
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
        raise ConfigError(f"k={k} asks for the first {k} answers; the cut-off of recall is at least 1")
    return 100.0 * int((ranks <= k).sum()) / len(ranks)
