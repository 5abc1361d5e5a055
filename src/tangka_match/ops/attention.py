"""Words that look at regions, for every pair of an image and a caption."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from tangka_match.ops.numerics import at_least_float32, l2_normalise
from tangka_match.ops.pooling import masked_softmax


def word_region_attention(
    words: Float[Tensor, "C T D"],
    regions: Float[Tensor, "I R D"],
    region_mask: Bool[Tensor, "I R"],
    smooth: float = 9.0,
) -> Float[Tensor, "I R C T"]:
    r"""How much every word looks at every region, as SCAN and SGRAF define it.

    With the dot products :math:`s_{tr}` of an image and a caption, :math:`l_{tr} = \mathrm{LeakyReLU}_{0.1}(s_{tr})` is
    L2-normalised over the *words* :math:`t`, which makes every region share itself out among the words, and
    :math:`a_{tr} = \mathrm{softmax}_r(\lambda \hat{l}_{tr})`. Lee et al., "Stacked Cross Attention for Image-Text
    Matching", arXiv 1803.08024, equations 1 and 2 of the text-to-image form; there :math:`\lambda = 9`.

    Args:
        words: Embedded words of captions of one length, all of them real.
        regions: Embedded regions.
        region_mask: ``True`` where a region is real; others get a weight of zero.
        smooth: :math:`\lambda`; higher = sharper.

    Returns:
        Weights that add up to one over the regions, in float32 at least.
    """
    # Regions first: one product for all pairs, and a softmax that runs over whole rows of words.
    affinity = functional.linear(regions, words.flatten(0, 1)).unflatten(2, words.shape[:2])
    shared = l2_normalise(functional.leaky_relu(at_least_float32(affinity), 0.1), dim=3)
    return masked_softmax(smooth * shared, region_mask[:, :, None, None], dim=1)


def unit_context_weights(
    weights: Float[Tensor, "I R W"], gram: Float[Tensor, "I R R"], eps: float = 1e-8
) -> Float[Tensor, "I R W"]:
    r"""Scale the weights of each word so that the context it sees has length one.

    The context :math:`c = \sum_r a_r v_r` is L2-normalised as by ``l2_normalise``, before it is made: its norm is
    :math:`\sqrt{a^\top G a}`, where :math:`G_{rs} = v_r \cdot v_s` belongs to the image alone.

    Args:
        weights: How much each word looks at each region, :math:`a`.
        gram: Dot products of each image's regions, :math:`G`, in the dtype of the weights.
        eps: Added to the norm.
    """
    # In half precision the square of a short context would be mostly rounding error.
    with torch.autocast(gram.device.type, enabled=False):
        squared = (weights * (gram @ weights)).sum(dim=1, keepdim=True)
        seen = squared > 0
        norm = torch.where(seen, squared, 1).sqrt()
        return weights * torch.where(seen, 1 / (norm + eps), 0)


def attended_cosine(
    queries: Float[Tensor, "W A"],
    words: Float[Tensor, "W A"],
    keys: Float[Tensor, "I R A"],
    values: Float[Tensor, "I R A"],
    region_mask: Bool[Tensor, "I R"],
    *,
    smooth: float = 9.0,
) -> Float[Tensor, "I W"]:
    r"""Cosine of every word with what it sees in every image.

    Word :math:`t` attends to the regions of an image by :math:`a_r = \mathrm{softmax}_r(\lambda\, q_t \cdot k_r)` and
    sees the context :math:`c = \sum_r a_r v_r`. The context has ``A`` components for each of I x W pairs and is not
    made: :math:`c \cdot w = \sum_r a_r (v_r \cdot w)` and :math:`\lVert c \rVert^2 = a^\top G a`, where
    :math:`G_{rs} = v_r \cdot v_s` belongs to the image alone. Only (I, R, W) tensors appear. With fewer words than
    regions, as in a search for one caption, :math:`G` would cost more than the contexts, and these are made.

    Args:
        queries: What each word looks for; ``W`` real words, ``A`` components.
        words: What each word is, L2-normalised.
        keys: What each region answers to.
        values: What each region shows, L2-normalised.
        region_mask: ``True`` where a region is real.
        smooth: :math:`\lambda`; higher = sharper.

    Returns:
        Cosines in [-1, 1] up to rounding, in float32 at least; 0 for an image without a real region.
    """
    # Which way a product is rounded depends on the shapes: in half precision a score would depend on the words beside
    # it, and the square of a short context would be mostly rounding error.
    with torch.autocast(values.device.type, enabled=False):
        queries, words = at_least_float32(queries), at_least_float32(words)
        keys, values = at_least_float32(keys), at_least_float32(values)
        if len(words) < values.shape[1]:
            return _cosine_of_contexts(queries, words, keys, values, region_mask, smooth=smooth)
        weights = masked_softmax(smooth * (keys @ queries.T), region_mask[:, :, None], dim=1)
        dot = (weights * (values @ words.T)).sum(dim=1)
        squared_norm = (weights * (values @ values.mT @ weights)).sum(dim=1)
        return dot / squared_norm.clamp(min=1e-12).sqrt()


def _cosine_of_contexts(
    queries: Float[Tensor, "W A"],
    words: Float[Tensor, "W A"],
    keys: Float[Tensor, "I R A"],
    values: Float[Tensor, "I R A"],
    region_mask: Bool[Tensor, "I R"],
    *,
    smooth: float,
) -> Float[Tensor, "I W"]:
    """``attended_cosine`` with the contexts made; each image's keys and values are read once."""
    # One small product an image: as one tall and thin product it would take twice as long on a CPU.
    affinity = queries.expand(len(keys), -1, -1) @ keys.mT
    weights = masked_softmax(smooth * affinity, region_mask[:, None, :])
    contexts = weights @ values
    return (contexts * words).sum(dim=2) / torch.linalg.vector_norm(contexts, dim=2).clamp(min=1e-6)


def stacked_cross_attention(
    queries: Float[Tensor, "N L D"],
    query_mask: Bool[Tensor, "N L"],
    context: Float[Tensor, "M K D"],
    context_mask: Bool[Tensor, "M K"],
    smooth: float,
) -> Float[Tensor, "M N L"]:
    r"""Cosine of every query with what it sees in every context: the relevance :math:`R` of SCAN.

    Lee et al., "Stacked Cross Attention for Image-Text Matching", arXiv 1803.08024. The cosines :math:`s_{kl}` of a
    context's parts and an item's queries are clipped at zero and L2-normalised over the queries (equation 1); query
    :math:`l` weighs the parts by :math:`\mathrm{softmax}_k(\lambda_1 \bar s_{kl})` (equations 2 and 3) and is compared
    with the weighted sum (equation 4). Words that look at regions are the text-image form, regions that look at words
    the image-text form. Only (M, K, N x L) tensors appear, as in ``attended_cosine``.

    Args:
        queries: L2-normalised parts of N items; zero where they are not real.
        query_mask: ``True`` where a query is real.
        context: L2-normalised parts of M other items, ``K`` each.
        context_mask: ``True`` where a part is real.
        smooth: :math:`\lambda_1`; higher = sharper.

    Returns:
        Cosines in [-1, 1] up to rounding, in float32 at least; 0 for a context without a real part. Those of queries
        that are not real mean nothing.
    """
    cosines = at_least_float32(functional.linear(context, queries.flatten(0, 1))).unflatten(2, queries.shape[:2])
    clipped = cosines.clamp(min=0).masked_fill(~(context_mask[:, :, None, None] & query_mask), 0)
    weights = masked_softmax(smooth * l2_normalise(clipped, dim=3), context_mask[:, :, None, None], dim=1)
    with torch.autocast(context.device.type, enabled=False):
        wide = at_least_float32(context)
        unit = unit_context_weights(weights.flatten(2), wide @ wide.mT).unflatten(2, queries.shape[:2])
    return (unit * cosines).sum(dim=1)
