"""L2 normalisation as SGRAF defines it, with a gradient that stays finite."""

import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.ops.precision import at_least_float32


def l2_normalise(x: Float[Tensor, "*shape"], dim: int = -1, eps: float = 1e-8) -> Float[Tensor, "*shape"]:
    r"""Scale vectors to length one: :math:`x / (\lVert x \rVert + \epsilon)`, with :math:`\epsilon` outside the root.

    A vector that is exactly zero stays zero and gets a gradient of zero. (The formula's own derivative there is
    :math:`1 / \epsilon`, and written with ``sqrt`` it is NaN: one empty region would spoil a whole run.) The norm is
    taken in float32 at least, because ``eps`` is zero in float16.

    Args:
        x: Vectors along ``dim``; any floating dtype.
        dim: The axis of the vectors' components.
        eps: Added to the norm.

    Returns:
        The shape and the dtype of ``x``.

    Example:
        >>> l2_normalise(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    wide = at_least_float32(x)
    norm = torch.linalg.vector_norm(wide, dim=dim, keepdim=True)
    scale = torch.where(norm > 0, 1 / (norm + eps), 0)
    return (wide * scale).to(x.dtype)
