"""Tensor functions: normalisation, masked reductions, pooling, attention, captions by length, process sums."""

from tangka_match.ops.attention import (
    attended_cosine,
    stacked_cross_attention,
    unit_context_weights,
    word_region_attention,
)
from tangka_match.ops.numerics import (
    GPU_MEMORY_SHARE,
    at_least_float32,
    autocast_dtype,
    bound_primitive_caches,
    computes_bfloat16,
    dot_products,
    free_gpu_memory,
    full_precision,
    l2_normalise,
    low_component_share,
    tf32,
)
from tangka_match.ops.pooling import attention_pool, k_max_pool, masked_max, masked_mean, masked_softmax, tfidf_overlap
from tangka_match.ops.processes import in_several_processes, sum_over_processes
from tangka_match.ops.sequences import (
    LengthGroups,
    group_by_length,
    lengths_of,
    real_positions,
    real_words,
    sinusoidal_positions,
    to_device,
    unpack_words,
)
from tangka_match.ops.squared_difference import project_squared_difference

__all__ = [
    "GPU_MEMORY_SHARE",
    "LengthGroups",
    "at_least_float32",
    "attended_cosine",
    "attention_pool",
    "autocast_dtype",
    "bound_primitive_caches",
    "computes_bfloat16",
    "dot_products",
    "free_gpu_memory",
    "full_precision",
    "group_by_length",
    "in_several_processes",
    "k_max_pool",
    "l2_normalise",
    "lengths_of",
    "low_component_share",
    "masked_max",
    "masked_mean",
    "masked_softmax",
    "project_squared_difference",
    "real_positions",
    "real_words",
    "sinusoidal_positions",
    "stacked_cross_attention",
    "sum_over_processes",
    "tf32",
    "tfidf_overlap",
    "to_device",
    "unit_context_weights",
    "unpack_words",
    "word_region_attention",
]
