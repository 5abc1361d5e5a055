"""Pure tensor functions: norms, masked reductions, pooling, cross attention."""

from tangka_match.ops.attention import attended_cosine, word_region_attention
from tangka_match.ops.masking import masked_max, masked_mean, masked_softmax
from tangka_match.ops.normalise import l2_normalise
from tangka_match.ops.packing import unpack_words
from tangka_match.ops.pooling import attention_pool
from tangka_match.ops.precision import at_least_float32

__all__ = [
    "at_least_float32",
    "attended_cosine",
    "attention_pool",
    "l2_normalise",
    "masked_max",
    "masked_mean",
    "masked_softmax",
    "unpack_words",
    "word_region_attention",
]
