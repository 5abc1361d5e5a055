"""Pure tensor functions: norms, masked reductions, pooling, cross attention."""

from tangka_match.ops.attention import (
    attended_cosine,
    stacked_cross_attention,
    unit_context_weights,
    word_region_attention,
)
from tangka_match.ops.bag_of_words import tfidf_overlap
from tangka_match.ops.k_max_pooling import k_max_pool
from tangka_match.ops.length_groups import LengthGroups, group_by_length, real_words
from tangka_match.ops.masking import masked_max, masked_mean, masked_softmax
from tangka_match.ops.normalise import l2_normalise
from tangka_match.ops.packing import unpack_words
from tangka_match.ops.pooling import attention_pool
from tangka_match.ops.positions import sinusoidal_positions
from tangka_match.ops.precision import at_least_float32, autocast_dtype, dot_products
from tangka_match.ops.primitive_cache import bound_primitive_caches
from tangka_match.ops.squared_difference import project_squared_difference
from tangka_match.ops.two_gaussians import low_component_share

__all__ = [
    "LengthGroups",
    "at_least_float32",
    "attended_cosine",
    "attention_pool",
    "autocast_dtype",
    "bound_primitive_caches",
    "dot_products",
    "group_by_length",
    "k_max_pool",
    "l2_normalise",
    "low_component_share",
    "masked_max",
    "masked_mean",
    "masked_softmax",
    "project_squared_difference",
    "real_words",
    "sinusoidal_positions",
    "stacked_cross_attention",
    "tfidf_overlap",
    "unit_context_weights",
    "unpack_words",
    "word_region_attention",
]
