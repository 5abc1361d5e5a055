"""The ways from a sequence of vectors to one vector, by name."""

from collections.abc import Callable
from functools import partial

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.models.generalised_pooling import GeneralisedPooling
from tangka_match.ops import k_max_pool, masked_max, masked_mean

POOLINGS = ("mean", "max", "k_max", "gpo")


class FixedPooling(nn.Module):
    """A pooling without weights of its own.

    Args:
        function: Maps ``x`` (N, L, D) and ``mask`` (N, L) to (N, D).
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Float[Tensor, "N L D"], mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N D"]:
        """Pool the real positions of every sequence."""
        return self.function(x, mask)


def build_pooling(name: str, k: int) -> nn.Module:
    """Make one of ``POOLINGS``; ``k_max`` averages the ``k`` largest values."""
    if name == "gpo":
        return GeneralisedPooling()
    functions: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "mean": masked_mean,
        "max": masked_max,
        "k_max": partial(k_max_pool, k=k),
    }
    return FixedPooling(functions[name])
