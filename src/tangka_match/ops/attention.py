"""Word-to-region attention for every pair of an image and a caption.

Axes: I images, R regions, C captions, T tokens, W words of all captions, D joint space, A components of queries; in
`stacked_cross_attention` N items with L queries attend to M contexts with K parts.
"""

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
    r"""Compute the word-to-region attention weights of SGRAF.

    With the dot products :math:`s_{tr}` of an image and a caption, :math:`l_{tr} = \mathrm{LeakyReLU}_{0.1}(s_{tr})` is
    L2-normalised over the *words* :math:`t`, and :math:`a_{tr} = \mathrm{softmax}_r(\lambda \hat{l}_{tr})`. Lee et al.,
    "Stacked Cross Attention for Image-Text Matching", arXiv 1803.08024, equations 1 and 2 of the text-to-image form
    with :math:`\lambda = 9`.

    Args:
        words: Embedded words of captions; zero where a caption has no word, which changes no other weight.
        regions: Embedded regions.
        region_mask: ``True`` where a region is real; others get a weight of zero.
        smooth: :math:`\lambda`; higher = sharper.

    Returns:
        Weights that sum to one over the regions, in at least float32.
    """
    # With the regions first, all pairs are one matrix product.
    affinity = functional.linear(regions, words.flatten(0, 1)).unflatten(2, words.shape[:2])
    normalised = l2_normalise(functional.leaky_relu(at_least_float32(affinity), 0.1), dim=3)
    return masked_softmax(smooth * normalised, region_mask[:, :, None, None], dim=1)


def unit_context_weights(
    weights: Float[Tensor, "I R W"], gram: Float[Tensor, "I R R"], eps: float = 1e-8
) -> Float[Tensor, "I R W"]:
    r"""Scale the attention weights of each word so that its context has an L2 norm of one.

    The context :math:`c = \sum_r a_r v_r` is not computed: its norm is :math:`\sqrt{a^\top G a}` with
    :math:`G_{rs} = v_r \cdot v_s`, which depends on the image only.

    Args:
        weights: Attention weights :math:`a`.
        gram: Dot products :math:`G` of the regions of each image, in the dtype of the weights.
        eps: Added to the norm.
    """
    # In half precision, the square of a small norm would be mostly rounding error.
    with torch.autocast(gram.device.type, enabled=False):
        squared = (weights * (gram @ weights)).sum(dim=1, keepdim=True)
        is_zero = squared <= 0
        norm = squared.masked_fill(is_zero, 1).sqrt()
        return weights * (norm + eps).reciprocal().masked_fill(is_zero, 0)


def attended_cosine(
    queries: Float[Tensor, "W A"],
    words: Float[Tensor, "W A"],
    keys: Float[Tensor, "I R A"],
    values: Float[Tensor, "I R A"],
    region_mask: Bool[Tensor, "I R"],
    *,
    smooth: float = 9.0,
) -> Float[Tensor, "I W"]:
    r"""Compute the cosine of every word with its context in every image.

    The context of word :math:`w_t` is :math:`c = \sum_r a_r v_r` with the attention weights
    :math:`a_r = \mathrm{softmax}_r(\lambda\, q_t \cdot k_r)`. The I x W contexts of ``A`` components are not computed:
    :math:`c \cdot w = \sum_r a_r (v_r \cdot w)` and :math:`\lVert c \rVert^2 = a^\top G a`, where
    :math:`G_{rs} = v_r \cdot v_s` depends on the image only. With fewer words than regions, :math:`G` would cost more
    than the contexts, which are computed then.

    Args:
        queries: Queries of the real words.
        words: Values of the real words, L2-normalised.
        keys: Keys of the regions.
        values: Values of the regions, L2-normalised.
        region_mask: ``True`` where a region is real.
        smooth: :math:`\lambda`; higher = sharper.

    Returns:
        Cosines in [-1, 1] up to rounding, in at least float32; 0 for an image without a real region.
    """
    # The rounding of a product depends on its shape: in half precision, a score would depend on the other words, and
    # the square of a small norm would be mostly rounding error.
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
    """Compute ``attended_cosine`` through the contexts."""
    # One product per image: a single tall, thin product takes twice as long on a CPU.
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
    *,
    negative_slope: float = 0.0,
) -> Float[Tensor, "M N L"]:
    r"""Compute the relevance :math:`R` of SCAN: the cosine of every query with its attended vector in every context.

    Lee et al., "Stacked Cross Attention for Image-Text Matching", arXiv 1803.08024. The cosines :math:`s_{kl}` of a
    context's parts and an item's queries are clipped at zero and L2-normalised over the queries (equation 1); query
    :math:`l` weights the parts by :math:`\mathrm{softmax}_k(\lambda_1 \bar s_{kl})` (equations 2 and 3) and is compared
    with their weighted sum (equation 4). In the text-image form words are the queries, in the image-text form regions.

    Args:
        queries: L2-normalised vectors of N items; zero where masked.
        query_mask: ``True`` where a query is real.
        context: L2-normalised vectors of M other items.
        context_mask: ``True`` where a part is real.
        smooth: :math:`\lambda_1`; higher = sharper.
        negative_slope: Factor of negative cosines before they are L2-normalised: 0 in the paper, 0.1 in the published
            code.

    Returns:
        Cosines in [-1, 1] up to rounding, in at least float32; 0 for a context without a real part, undefined for
        masked queries.
    """
    cosines = at_least_float32(functional.linear(context, queries.flatten(0, 1))).unflatten(2, queries.shape[:2])
    clipped = functional.leaky_relu(cosines, negative_slope) if negative_slope else cosines.clamp(min=0)
    clipped = clipped.masked_fill(~(context_mask[:, :, None, None] & query_mask), 0)
    weights = masked_softmax(smooth * l2_normalise(clipped, dim=3), context_mask[:, :, None, None], dim=1)
    with torch.autocast(context.device.type, enabled=False):
        wide = at_least_float32(context)
        unit = unit_context_weights(weights.flatten(2), wide @ wide.mT).unflatten(2, queries.shape[:2])
    return (unit * cosines).sum(dim=1)
