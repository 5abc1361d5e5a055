"""The rank of the right answer of every query, from which every retrieval metric follows."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.errors import DataFormatError, ShapeError, TrainingError

BLOCK_ELEMENTS = 2**22
"""Scores compared at once; what ranking needs beside the matrix itself stays at some 100 MB, whatever its size."""


class Ranks(NamedTuple):
    """Rank of the right answer of every query, counted from 1.

    Attributes:
        i2t: (I,) int64, image queries: the best rank among the image's own captions, in [1, C].
        t2i: (C,) int64, caption queries: the rank of the caption's image, in [1, I].
    """

    i2t: Int[Tensor, " I"]
    t2i: Int[Tensor, " C"]


def retrieval_ranks(similarity: Float[Tensor, "I C"], caption_to_image: Int[Tensor, " C"]) -> Ranks:
    """Rank the right answers of every image and every caption of a gallery.

    Equal scores rank by index, the higher row or column first. A model that has collapsed to one score for everything
    is thus ranked as chance would rank it; a rule that favours the right answer would give it 100 %. The evaluation
    published with VSE++, SCAN and SGRAF has the same rule, which decides where scores tie, as those of duplicate
    captions do; it also puts NaN before everything, which is an error here.

    Args:
        similarity: Scores, (I, C): rows images, columns captions, higher = closer; any floating dtype and sign.
        caption_to_image: The row of every caption's image, (C,), in any order; every image has at least one caption.

    Returns:
        Ranks from 1, on the device of ``similarity``.

    Raises:
        ShapeError: If the two do not fit, hold nothing, or a caption names a row that is not there.
        DataFormatError: If an image has no caption.
        TrainingError: If a score is NaN, which compares as neither better nor worse than anything.

    Example:
        Image 0 owns captions 0 and 1, image 1 owns 2 and 3. Image 0 finds caption 0 first. For image 1 the captions
        1 and 0 stand before its own caption 2. Only caption 0 finds its own image first.

        >>> scores = torch.tensor([[0.9, 0.1, 0.8, 0.3], [0.5, 0.6, 0.4, 0.2]])
        >>> retrieval_ranks(scores, torch.tensor([0, 0, 1, 1]))
        Ranks(i2t=tensor([1, 3]), t2i=tensor([1, 2, 2, 2]))

        A collapsed model:

        >>> retrieval_ranks(torch.zeros(3, 3), torch.arange(3))
        Ranks(i2t=tensor([3, 2, 1]), t2i=tensor([3, 2, 1]))
    """
    _check_owners(similarity, caption_to_image)
    owners = caption_to_image.to(similarity.device)
    n_images, n_captions = similarity.shape
    columns = torch.arange(n_captions, device=similarity.device)
    own_scores = similarity[owners, columns]
    i2t = torch.empty(n_images, dtype=torch.int64, device=similarity.device)
    images_ahead = torch.zeros(n_captions, dtype=torch.int64, device=similarity.device)
    block = max(1, BLOCK_ELEMENTS // n_captions)
    for start in range(0, n_images, block):
        scores = similarity[start : start + block]
        _refuse_nan(scores, start)
        rows = torch.arange(start, start + len(scores), device=similarity.device)[:, None]
        i2t[start : start + block] = best_own_rank(scores, owners == rows)
        images_ahead += ((scores > own_scores) | ((scores == own_scores) & (rows > owners))).sum(dim=0)
    return Ranks(i2t, images_ahead + 1)


def best_own_rank(scores: Float[Tensor, "B C"], own: Bool[Tensor, "B C"]) -> Int[Tensor, " B"]:
    """Rank, in every row, of the best of the columns marked as its own."""
    columns = torch.arange(scores.shape[1], device=scores.device)
    best = scores.masked_fill(~own, float("-inf")).amax(dim=1, keepdim=True)
    first = torch.where(own & (scores == best), columns, -1).amax(dim=1, keepdim=True)  # the highest index goes first
    return ((scores > best) | ((scores == best) & (columns > first))).sum(dim=1) + 1


def _check_owners(similarity: Float[Tensor, "I C"], caption_to_image: Int[Tensor, " C"]) -> None:
    """Refuse ground truth that does not fit the matrix."""
    shape = tuple(similarity.shape)
    if len(shape) != 2 or 0 in shape or tuple(caption_to_image.shape) != shape[1:]:
        raise ShapeError(
            f"similarity is {shape} and caption_to_image {tuple(caption_to_image.shape)}; "
            "they must be (I, C) and (C,), with at least one image and one caption"
        )
    low, high = int(caption_to_image.min()), int(caption_to_image.max())
    if low < 0 or high >= shape[0]:
        wrong = low if low < 0 else high
        caption = int((caption_to_image == wrong).nonzero()[0])
        raise ShapeError(
            f"caption_to_image[{caption}] is {wrong} but similarity has {shape[0]} rows; "
            f"it holds row numbers from 0 to {shape[0] - 1}"
        )
    bare = (torch.bincount(caption_to_image, minlength=shape[0]) == 0).nonzero().flatten().tolist()
    if bare:
        raise DataFormatError(
            f"{len(bare)} of {shape[0]} images have no caption, among them rows {bare[:5]}; "
            "an image query needs a right answer: drop these images from the gallery or caption them"
        )


def _refuse_nan(scores: Float[Tensor, "B C"], start: int) -> None:
    """Name the first NaN of a block of rows that begins at row ``start``."""
    bad = scores.isnan()
    if bool(bad.any()):
        row, column = bad.nonzero()[0].tolist()
        raise TrainingError(
            f"similarity is NaN at row {start + row}, column {column}; scores must be numbers: "
            "look for NaN in the features of this image and caption, then for diverged weights (a lower learning rate)"
        )


def relevant_ranks(similarity: Float[Tensor, "I C"], relevant: Bool[Tensor, "I C"]) -> Ranks:
    """Rank the best right answer of every image and every caption, where any pair may be right.

    Equal scores rank as in `retrieval_ranks`, which this equals where ``relevant`` marks each caption's
    own image alone. More right answers never make a rank worse.

    Args:
        similarity: Scores, (I, C): rows images, columns captions, higher = closer, none of them NaN.
        relevant: (I, C), ``True`` where image and caption are right answers to each other; at least one in every row
            and every column.

    Returns:
        Ranks from 1, on the device of ``similarity``.

    Raises:
        ShapeError: If the two have not the same shape, or a query has no right answer.

    Example:
        Caption 1 is as good as caption 0 for image 0, which therefore finds a right answer first:

        >>> scores = torch.tensor([[0.5, 0.9], [0.1, 0.8]])
        >>> relevant_ranks(scores, torch.tensor([[True, False], [False, True]]))
        Ranks(i2t=tensor([2, 1]), t2i=tensor([1, 2]))
        >>> relevant_ranks(scores, torch.tensor([[True, True], [False, True]]))
        Ranks(i2t=tensor([1, 1]), t2i=tensor([1, 1]))
    """
    if similarity.shape != relevant.shape:
        raise ShapeError(
            f"similarity is {tuple(similarity.shape)} and relevant {tuple(relevant.shape)}; both must be (I, C)"
        )
    for axis, kind in ((1, "image"), (0, "caption")):
        without = (~relevant.any(dim=axis)).nonzero().flatten().tolist()
        if without:
            raise ShapeError(f"{len(without)} {kind}(s) have no right answer, the first is number {without[0]}")
    return Ranks(_best_ranks(similarity, relevant), _best_ranks(similarity.T, relevant.T))


def _best_ranks(scores: Float[Tensor, "Q N"], relevant: Bool[Tensor, "Q N"]) -> Int[Tensor, " Q"]:
    """Rank of the first right answer of every row, in blocks of rows that bound the memory."""
    block = max(1, BLOCK_ELEMENTS // scores.shape[1])
    parts = zip(scores.split(block), relevant.split(block), strict=True)
    return torch.cat([best_own_rank(rows, right) for rows, right in parts])
