"""How much two captions share, by their words alone."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.ops.normalise import l2_normalise
from tangka_match.ops.precision import dot_products


def tfidf_overlap(token_ids: Int[Tensor, "B T"], token_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B B"]:
    r"""Cosine of the captions' bags of words, each word weighed by how rare it is among these captions.

    A word counts :math:`n \cdot \log\frac{1 + B}{1 + d}`: how often it is in the caption, and in how many of the B
    captions it is. What is in all of them (``<start>``, ``<end>``) counts nothing. The smoothed inverse document
    frequency is that of Manning et al., "Introduction to Information Retrieval", ch. 6, with one caption more.

    Args:
        token_ids: Words of every caption; ids where the mask is ``False`` have no influence.
        token_mask: ``True`` = real.

    Returns:
        (B, B) in [0, 1], symmetric, float32, without gradient. 1 up to rounding where two captions have the words that
        count anything in equal proportions, 0 where they share none of those: a caption that has none has 0 everywhere,
        with itself too.

    Example:
        Word 3 is in all captions; 0 and 2 share no other. Caption 1 says 5 and 6 twice as often as 0.

        >>> ids = torch.tensor([[3, 5, 6, 3, 3], [3, 5, 6, 5, 6], [3, 8, 8, 8, 8]])
        >>> tfidf_overlap(ids, torch.ones(3, 5, dtype=torch.bool))[0].round()
        tensor([1., 1., 0.])
    """
    words, position = token_ids.masked_fill(~token_mask, -1).unique(return_inverse=True)
    bags = torch.zeros(len(token_ids), len(words), device=token_ids.device)
    bags.scatter_add_(1, position, token_mask.float())
    rarity = ((1 + len(bags)) / (1 + (bags > 0).sum(dim=0))).log()
    vectors = l2_normalise(bags * rarity)
    return dot_products(vectors, vectors).clamp(0.0, 1.0)
