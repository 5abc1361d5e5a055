"""Where half precision is not enough."""

import torch
from jaxtyping import Float
from torch import Tensor


def at_least_float32(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Cast half precision to float32; leave float32 and float64 as they are.

    Example:
        >>> at_least_float32(torch.ones(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def autocast_dtype(x: Float[Tensor, "*shape"]) -> torch.dtype:
    """The dtype that autocast would compute a matrix product of ``x`` in; that of ``x`` where autocast is off.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     autocast_dtype(torch.ones(1)), autocast_dtype(torch.ones(1, dtype=torch.float64))
        (torch.bfloat16, torch.float64)
    """
    kind = x.device.type
    if x.dtype == torch.float64 or not torch.is_autocast_enabled(kind):
        return x.dtype
    return torch.get_autocast_dtype(kind)


def dot_products(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"]) -> Float[Tensor, "N M"]:
    """Dot product of every row of ``x`` with every row of ``y``, outside of autocast.

    Cosines in half precision would tie where a ranking must tell them apart.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     dot_products(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.999, 0.0], [0.998, 1.0]]))
        tensor([[0.9990, 0.9980]])
    """
    with torch.autocast(x.device.type, enabled=False):
        return x @ y.T
