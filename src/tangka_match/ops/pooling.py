"""Masked reductions and pooling over padded sequences, and the tf-idf similarity of captions.

Axes: N items, L positions, D components, B captions of a batch, T tokens.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from tangka_match.ops.numerics import dot_products, l2_normalise


def masked_mean(x: Float[Tensor, "N L D"], mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N D"]:
    """Average over the real positions of each sequence.

    Example:
        >>> x = torch.tensor([[[1.0], [3.0], [99.0]]])
        >>> masked_mean(x, torch.tensor([[True, True, False]]))
        tensor([[2.]])
    """
    total = x.masked_fill(~mask[:, :, None], 0).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)


def masked_max(x: Float[Tensor, "N L D"], mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N D"]:
    """Take the maximum of each dimension over the real positions of each sequence; 0 if there are none.

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
    """Compute the softmax over the real entries along ``dim``; masked entries get exactly zero.

    Args:
        logits: Scores of any shape.
        mask: ``True`` where a score is real; broadcasts to ``logits``.
        dim: Axis over which the weights sum to one.

    Example:
        >>> masked_softmax(torch.tensor([0.0, 0.0, 99.0]), torch.tensor([True, True, False]))
        tensor([0.5000, 0.5000, 0.0000])
    """
    barred = ~mask
    return logits.masked_fill(barred, torch.finfo(logits.dtype).min).softmax(dim=dim).masked_fill(barred, 0)


def attention_pool(
    x: Float[Tensor, "N L D"], logits: Float[Tensor, "N L"], mask: Bool[Tensor, "N L"]
) -> Float[Tensor, "N D"]:
    """Average the real positions, weighted by the softmax of their logits.

    Example:
        >>> import torch
        >>> x = torch.tensor([[[1.0], [3.0], [99.0]]])
        >>> attention_pool(x, torch.zeros(1, 3), torch.tensor([[True, True, False]]))
        tensor([[2.]])
    """
    weights = masked_softmax(logits, mask)
    return (weights[:, None, :] @ x.masked_fill(~mask[:, :, None], 0).to(weights.dtype)).squeeze(1)


def k_max_pool(x: Float[Tensor, "N L D"], mask: Bool[Tensor, "N L"], k: int) -> Float[Tensor, "N D"]:
    """Average the ``k`` largest values of each dimension over the real positions of each sequence.

    Sequences of fewer than ``k`` positions give their mean, those without any give zeros. Chen et al., "Learning the
    Best Pooling Strategy for Visual Semantic Embedding", arXiv 2011.04305.

    Example:
        >>> x = torch.tensor([[[1.0], [4.0], [2.0], [99.0]]])
        >>> k_max_pool(x, torch.tensor([[True, True, True, False]]), k=2)
        tensor([[3.]])
    """
    counted = mask.sum(dim=1).clamp(max=k)
    largest = x.masked_fill(~mask[:, :, None], torch.finfo(x.dtype).min).topk(min(k, x.shape[1]), dim=1).values
    real = torch.arange(largest.shape[1], device=x.device) < counted[:, None]
    return largest.masked_fill(~real[:, :, None], 0).sum(dim=1) / counted.clamp(min=1)[:, None]


def tfidf_overlap(token_ids: Int[Tensor, "B T"], token_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B B"]:
    r"""Compute the cosine of the tf-idf vectors of every two captions of a batch.

    A word weighs :math:`n \cdot \log\frac{1 + B}{1 + d}`: its count in the caption times its smoothed inverse document
    frequency in the batch (Manning et al., "Introduction to Information Retrieval", ch. 6). Words of all captions, such
    as ``<start>`` and ``<end>``, weigh 0.

    Args:
        token_ids: Word ids; those of masked positions have no influence.
        token_mask: ``True`` where a token is real.

    Returns:
        (B, B) in [0, 1], symmetric, float32, without gradient. A caption whose words all weigh 0 has 0 with all
        captions, itself included.

    Example:
        Word 3 is in all captions, the only word that 0 and 2 share. Words 5 and 6 are twice as frequent in 1 as in 0.

        >>> ids = torch.tensor([[3, 5, 6, 3, 3], [3, 5, 6, 5, 6], [3, 8, 8, 8, 8]])
        >>> tfidf_overlap(ids, torch.ones(3, 5, dtype=torch.bool))[0].round()
        tensor([1., 1., 0.])
    """
    # One column per position, most of them empty: the number of different words is not known on the host.
    ordered, order = token_ids.masked_fill(~token_mask, -1).flatten().sort()
    column = functional.pad(ordered.diff() != 0, (1, 0)).cumsum(dim=0)
    position = torch.empty_like(column).scatter_(0, order, column).view_as(token_ids)
    bags = torch.zeros(len(token_ids), token_ids.numel(), device=token_ids.device)
    bags.scatter_add_(1, position, token_mask.float())
    rarity = ((1 + len(bags)) / (1 + (bags > 0).sum(dim=0))).log()
    vectors = l2_normalise(bags * rarity)
    return dot_products(vectors, vectors).clamp(0.0, 1.0)
