"""Captions of one length together, so that nothing is computed for padding and no mask is needed."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class LengthGroups(NamedTuple):
    """Which captions have the same number of real words.

    Args:
        columns: For each group, the captions in it, ``_c`` indices in ascending order.
        lengths: For each group, the number of real words of its captions.
    """

    columns: Sequence[Int[Tensor, " _c"]]
    lengths: Sequence[int]

    def restore(self, parts: Sequence[Float[Tensor, "I _c *rest"]]) -> Float[Tensor, "I C *rest"]:
        """Put what was computed group by group back into the order of the captions."""
        return torch.cat(list(parts), dim=1).index_select(1, torch.cat(list(self.columns)).argsort())


def group_by_length(token_mask: Bool[Tensor, "C T"], most: int | None = None) -> LengthGroups:
    """Group captions by their number of real words.

    Args:
        token_mask: ``True`` where a token is real; each caption has at least one.
        most: Captions a group may have; more of one length make several groups.

    Example:
        >>> mask = torch.tensor([[True, True], [True, False], [True, True]])
        >>> groups = group_by_length(mask)
        >>> [columns.tolist() for columns in groups.columns], groups.lengths
        ([[1], [0, 2]], [1, 2])
        >>> groups.restore([torch.tensor([[1.0]]), torch.tensor([[2.0, 3.0]])])
        tensor([[2., 1., 3.]])
    """
    counts = token_mask.sum(dim=1)
    order = counts.argsort(stable=True)
    lengths, sizes = (x.tolist() for x in counts[order].unique_consecutive(return_counts=True))
    columns: list[Tensor] = []
    repeated: list[int] = []
    for length, part in zip(lengths, order.split(sizes), strict=True):
        pieces = part.split(most or len(part))
        columns += pieces
        repeated += [length] * len(pieces)
    return LengthGroups(columns, repeated)


def real_words(
    tokens: Float[Tensor, "C T D"], token_mask: Bool[Tensor, "C T"], columns: Int[Tensor, " c"], length: int
) -> Float[Tensor, "c L D"]:
    """Words of some captions that all have ``L`` = ``length`` real ones, wherever their mask has them."""
    # A stable sort of the mask brings the real positions to the front without asking a GPU how many there are.
    positions = (~token_mask[columns]).to(torch.uint8).argsort(dim=1, stable=True)[:, :length]
    return tokens[columns[:, None], positions]
