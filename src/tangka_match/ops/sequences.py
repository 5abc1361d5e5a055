"""Captions grouped by length, words unpacked to captions, and position encodings.

Axes: I images, C captions, T tokens, W real words of all captions, L positions, D components.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.types import Lengths


class LengthGroups(NamedTuple):
    """Captions grouped by their number of real words.

    Attributes:
        columns: Indices of the captions of each group, by length.
        lengths: Number of real words of the longest caption of each group.
        masks: ``True`` where a caption of the group has a word, (_c, length); ``None`` where all of them are as long.
    """

    columns: Sequence[Int[Tensor, " _c"]]
    lengths: Sequence[int]
    masks: Sequence[Bool[Tensor, "_c _l"] | None]

    def restore(self, parts: Sequence[Float[Tensor, "I _c *rest"]]) -> Float[Tensor, "I C *rest"]:
        """Concatenate results of the groups in the order of the captions."""
        return torch.cat(list(parts), dim=1).index_select(1, torch.cat(list(self.columns)).argsort())


def lengths_of(mask: Bool[Tensor, "N L"]) -> Lengths:
    """Count the real positions of each sequence on the host, which waits for the device of the mask.

    >>> lengths_of(torch.tensor([[True, True], [True, False]]))
    (2, 1)
    """
    return tuple(mask.sum(dim=1).tolist())


def group_by_length(
    token_mask: Bool[Tensor, "C T"],
    most: int | None = None,
    lengths: Lengths | None = None,
    *,
    max_groups: int | None = None,
) -> LengthGroups:
    """Group captions by their number of real words.

    Args:
        token_mask: ``True`` where a token is real, at least once per caption.
        most: Maximum number of captions per group; captions of one length may form several groups.
        lengths: Number of real words per caption; ``None`` asks the device of the mask.
        max_groups: Maximum number of groups, so that a GPU runs few kernels; captions of different lengths then share a
            group, with as little padding as possible. ``None`` groups equal lengths only.

    Example:
        >>> mask = torch.tensor([[True, True], [True, False], [True, True]])
        >>> groups = group_by_length(mask)
        >>> [columns.tolist() for columns in groups.columns], groups.lengths
        ([[1], [0, 2]], [1, 2])
        >>> groups.restore([torch.tensor([[1.0]]), torch.tensor([[2.0, 3.0]])])
        tensor([[2., 1., 3.]])
    """
    counts = np.array(lengths_of(token_mask) if lengths is None else lengths, dtype=np.int64)
    order = np.argsort(counts, kind="stable")
    ascending = counts[order]
    pieces = [
        (start, min(start + (most or end), end))
        for first, end in pairwise([0, *_group_ends(ascending, max_groups)])
        for start in range(first, end, most or end)
    ]
    columns = to_device(order, token_mask.device).split([end - start for start, end in pieces])
    masks: list[Tensor | None] = []
    for start, end in pieces:
        real = np.arange(ascending[end - 1]) < ascending[start:end, None]
        masks.append(None if real.all() else to_device(real, token_mask.device))
    return LengthGroups(columns, [int(ascending[end - 1]) for _, end in pieces], masks)


def _group_ends(ascending: npt.NDArray[np.int64], max_groups: int | None) -> list[int]:
    """Divide sorted lengths into groups; return the end of each.

    Equal lengths stay together. With more lengths than ``max_groups``, the groups are those with the fewest words,
    padding included, found by dynamic programming over the distinct lengths.
    """
    found, sizes = np.unique(ascending, return_counts=True)
    ends = np.cumsum(sizes)
    if max_groups is None or len(found) <= max_groups:
        return [int(end) for end in ends]
    starts = ends - sizes
    # words[i, j]: words of a group of the lengths i to j; best[j]: fewest words up to length j.
    words = np.where(starts[:, None] < ends, (ends - starts[:, None]) * found, np.inf)
    best, choices = words[0], []
    for _ in range(max_groups - 1):
        totals = best[:-1, None] + words[1:]
        choices.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    lasts = [len(found) - 1]
    for choice in reversed(choices):
        lasts.append(int(choice[lasts[-1]]))
    return [int(ends[last]) for last in reversed(lasts)]


def real_words(
    tokens: Float[Tensor, "C T D"], token_mask: Bool[Tensor, "C T"], groups: LengthGroups
) -> list[Float[Tensor, "_c _l D"]]:
    """Return the real words of the captions of each group, which may be anywhere in the mask.

    Args:
        tokens: Words of all captions.
        token_mask: ``True`` where a word is real.
        groups: The captions grouped by length; words that a caption of a group lacks become zero.
    """
    # A stable sort of the mask finds the real positions without synchronising with a GPU.
    positions = (~token_mask).to(torch.uint8).argsort(dim=1, stable=True)
    words = [
        tokens[columns[:, None], positions[columns, :length]]
        for columns, length in zip(groups.columns, groups.lengths, strict=True)
    ]
    return [
        part if mask is None else part.masked_fill(~mask[:, :, None], 0)
        for part, mask in zip(words, groups.masks, strict=True)
    ]


def real_positions(token_mask: Bool[Tensor, "C T"], lengths: Lengths | None = None) -> Int[Tensor, " W"]:
    """Return the positions of all real words in the flattened (C x T) captions, ascending.

    Args:
        token_mask: ``True`` where a token is real, W times.
        lengths: Number of real words per caption, which come first; ``None`` asks the device of the mask.

    Example:
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> real_positions(mask), real_positions(mask, (2, 1))
        (tensor([0, 1, 2]), tensor([0, 1, 2]))
    """
    if lengths is None:
        return token_mask.flatten().nonzero().squeeze(1)
    real = np.arange(token_mask.shape[1]) < np.array(lengths)[:, None]
    return to_device(np.flatnonzero(real), token_mask.device)


def unpack_words(
    x: Float[Tensor, "I W *rest"], positions: Int[Tensor, " W"], shape: torch.Size
) -> Float[Tensor, "I C T *rest"]:
    """Scatter results for images and real words to padded captions, with zeros at padding.

    Args:
        x: Results for each image and real word.
        positions: Positions of the words, see `real_positions`.
        shape: (C, T).

    Example:
        >>> import torch
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> unpack_words(torch.tensor([[1.0, 2.0, 3.0]]), real_positions(mask), mask.shape)
        tensor([[[1., 2.],
                 [3., 0.]]])
    """
    padded = x.new_zeros(x.shape[0], shape.numel(), *x.shape[2:])
    return padded.index_copy(1, positions, x).unflatten(1, shape)


def to_device(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Copy numbers of the host to a device without waiting for it."""
    return torch.from_numpy(values).to(device, non_blocking=True)


def sinusoidal_positions(
    length: int | torch.SymInt, dim: int, device: torch.device | None = None
) -> Float[Tensor, "L D"]:
    """Compute sinusoidal position encodings.

    Components ``2j`` and ``2j + 1`` are sine and cosine of ``position / 10000^(2j / dim)`` (Vaswani et al., "Attention
    Is All You Need", arXiv 1706.03762, section 3.5). An odd ``dim`` ends with a sine.

    Args:
        length: Number of positions; symbolic while a graph is traced.
        dim: Number of components.
        device: Device of the result.

    Example:
        >>> sinusoidal_positions(2, 2)
        tensor([[0.0000, 1.0000],
                [0.8415, 0.5403]])
    """
    position = torch.arange(length, device=device, dtype=torch.float32)[:, None]  # type: ignore[arg-type]
    angles = position * torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10_000) / dim))
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :dim]
