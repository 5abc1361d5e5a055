"""Between padded captions and the plain list of their real words.

``x[token_mask]`` is the way there: (C, T, ...) becomes (W, ...), the W real words of all captions one after the other,
so that the work on pairs of images and words is not spent on padding. ``unpack_words`` is the way back.
"""

from jaxtyping import Bool, Float
from torch import Tensor


def unpack_words(x: Float[Tensor, "I W *rest"], token_mask: Bool[Tensor, "C T"]) -> Float[Tensor, "I C T *rest"]:
    """Put what was computed for an image and every real word back into padded captions; padding is zero.

    Args:
        x: One entry an image and real word, words in the order of ``token_mask``, captions one after the other.
        token_mask: ``True`` where a token is real; W entries are.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> unpack_words(torch.tensor([[1.0, 2.0, 3.0]]), mask)
        tensor([[[1., 2.],
                 [3., 0.]]])
    """
    positions = token_mask.flatten().nonzero().squeeze(1)
    padded = x.new_zeros(x.shape[0], token_mask.numel(), *x.shape[2:])
    return padded.index_copy(1, positions, x).unflatten(1, token_mask.shape)
