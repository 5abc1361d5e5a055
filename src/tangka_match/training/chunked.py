"""Encoding a batch in chunks, so that a batch with many negatives needs the memory of a small one.

It is GradCache (Gao et al. 2021, arXiv:2101.06983) by torch's own checkpointing: the embeddings of the whole batch are
computed chunk by chunk without keeping what the encoders computed on the way; the similarity matrix, and so the loss
and its negatives, are those of the whole batch; the backward pass encodes each chunk again, with the same dropout, and
sends its gradient on. The gradient is exact, at the price of encoding twice.
"""

from collections.abc import Callable

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tangka_match.types import Encoded


def encode_in_chunks(encode: Callable[..., Encoded], chunk_size: int | None, *inputs: Tensor) -> Encoded:
    """Encode images or captions, ``chunk_size`` at a time.

    Not the same as the whole at once for an encoder whose items see each other, as under batch normalisation: each
    chunk then is a batch of its own, seen twice by the running statistics.

    Args:
        encode: ``Matcher.encode_images`` or ``Matcher.encode_texts``.
        chunk_size: Items a chunk; ``None`` encodes all at once, and only once.
        inputs: What ``encode`` takes, an item a row.
    """
    if chunk_size is None:
        return encode(*inputs)
    chunks = zip(*(part.split(chunk_size) for part in inputs), strict=True)
    return Encoded.concatenate([checkpoint(encode, *chunk, use_reentrant=False) for chunk in chunks])
