"""Make the scores of several models one matrix."""

import torch
from jaxtyping import Float
from torch import Tensor

FUSIONS = ("mean", "rank")


def rank_scores(similarity: Float[Tensor, "I C"], values: Float[Tensor, "N M"] | None = None) -> Float[Tensor, "N M"]:
    """Replace scores by the negative logarithm of their place among all scores of a matrix.

    The mean of such matrices over models is the rank product (Breitling et al. 2004, FEBS Letters 573:83-92): models
    count alike whatever the scale of their scores, and high places count more than low ones. One model alone ranks as
    before; the same holds for any strictly increasing function of its scores. Equal scores stay equal.

    Args:
        similarity: Scores of one model, (I, C).
        values: Scores of the same model to be placed among those of ``similarity``; these themselves where ``None``.

    Returns:
        0 for the best score, below 0 for the others, float32; NaN stays NaN, so that ranking refuses it.

    Example:
        >>> torch.exp(-rank_scores(torch.tensor([[0.9, 0.1], [0.3, 0.3]])))
        tensor([[1., 4.],
                [2., 2.]])
    """
    ordered = similarity.flatten().sort().values
    asked = (similarity if values is None else values).contiguous()
    better = len(ordered) - torch.searchsorted(ordered, asked, right=True)
    return -torch.log1p(better.double()).float().masked_fill(asked.isnan(), float("nan"))
