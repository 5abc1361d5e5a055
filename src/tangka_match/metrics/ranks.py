"""Rank of the best correct answer of each query, from which all retrieval metrics are computed."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.errors import DataFormatError, ShapeError, TrainingError

BLOCK_ELEMENTS = 2**22
"""Scores compared at once. Ranking needs about 100 MB in addition to the matrix, regardless of its size."""


class Ranks(NamedTuple):
    """Rank of the best correct answer of each query, from 1.

    Attributes:
        i2t: Image queries, (I,) int64: best rank among the image's own captions, in [1, C].
        t2i: Caption queries, (C,) int64: rank of the caption's image, in [1, I].
    """

    i2t: Int[Tensor, " I"]
    t2i: Int[Tensor, " C"]


def retrieval_ranks(similarity: Float[Tensor, "I C"], caption_to_image: Int[Tensor, " C"]) -> Ranks:
    """Rank the correct answers of every image and every caption of a gallery.

    Ties: equal scores rank by index, the higher row or column first. A model that has collapsed to a single score is
    therefore ranked at chance level; a rule that favours the correct answer would give it 100 %. The evaluation
    published with VSE++, SCAN and SGRAF, ``numpy.argsort(scores)[::-1]``, has the same order up to 16 items; beyond
    that NumPy's default sort is not stable, and the order of ties depends on its version and on the machine. Unlike
    there, where NaN ranks first, NaN is an error here.

    Args:
        similarity: Scores, (I, C): rows images, columns captions, higher = closer; any floating dtype and sign.
        caption_to_image: Row of each caption's image, (C,), in any order; every image has at least one caption.

    Returns:
        Ranks from 1, on the device of ``similarity``.

    Raises:
        ShapeError: If the shapes do not match, the gallery is empty, or a caption points to a missing row.
        DataFormatError: If an image has no caption.
        TrainingError: If a score is NaN.

    Example:
        Image 0 owns captions 0 and 1, image 1 owns captions 2 and 3. Image 0 ranks its caption 0 first. Image 1 ranks
        captions 1 and 0 above its own caption 2. Only caption 0 ranks its own image first.

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
        i2t[start : start + block] = _first_relevant_rank(scores, owners == rows)
        images_ahead += ((scores > own_scores) | ((scores == own_scores) & (rows > owners))).sum(dim=0)
    return Ranks(i2t, images_ahead + 1)


def relevant_ranks(similarity: Float[Tensor, "I C"], relevant: Bool[Tensor, "I C"]) -> Ranks:
    """Rank the best correct answer of every image and every caption, where any pair may count as correct.

    Ties rank as in `retrieval_ranks`. Both functions agree where ``relevant`` marks only each caption's own image.
    Marking more pairs never makes a rank worse.

    Args:
        similarity: Scores, (I, C): rows images, columns captions, higher = closer, without NaN.
        relevant: Pairs that count as correct, (I, C); at least one in every row and every column.

    Returns:
        Ranks from 1, on the device of ``similarity``.

    Raises:
        ShapeError: If the shapes differ, or a query has no correct answer.

    Example:
        With caption 1 also correct for image 0, image 0 ranks a correct answer first:

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
            raise ShapeError(
                f"{len(without)} {kind}(s) have no correct answer, the first is {kind} {without[0]}; mark at least one "
                "in every row and every column of relevant"
            )
    return Ranks(_best_ranks(similarity, relevant), _best_ranks(similarity.T, relevant.T))


def rank_order(scores: Float[Tensor, "Q G"]) -> Int[Tensor, "Q G"]:
    """Sort the columns of each row from the highest score to the lowest; ties rank as in `retrieval_ranks`.

    Args:
        scores: Scores, (Q, G): rows queries, columns the gallery.

    Returns:
        Column indices, (Q, G), best first.

    Example:
        >>> rank_order(torch.tensor([[0.1, 0.9, 0.5], [0.2, 0.2, 0.1]]))
        tensor([[1, 2, 0],
                [1, 0, 2]])
    """
    return scores.shape[1] - 1 - scores.flip(1).argsort(dim=1, descending=True, stable=True)


def _best_ranks(scores: Float[Tensor, "Q N"], relevant: Bool[Tensor, "Q N"]) -> Int[Tensor, " Q"]:
    """Apply `_first_relevant_rank` to blocks of rows, which bounds the memory."""
    block = max(1, BLOCK_ELEMENTS // scores.shape[1])
    parts = zip(scores.split(block), relevant.split(block), strict=True)
    return torch.cat([_first_relevant_rank(rows, marked) for rows, marked in parts])


def _first_relevant_rank(scores: Float[Tensor, "B C"], relevant: Bool[Tensor, "B C"]) -> Int[Tensor, " B"]:
    """Compute the rank of the best relevant column of each row."""
    columns = torch.arange(scores.shape[1], device=scores.device)
    best = scores.masked_fill(~relevant, float("-inf")).amax(dim=1, keepdim=True)
    first = torch.where(relevant & (scores == best), columns, -1).amax(dim=1, keepdim=True)  # ties: higher index first
    return ((scores > best) | ((scores == best) & (columns > first))).sum(dim=1) + 1


def _check_owners(similarity: Float[Tensor, "I C"], caption_to_image: Int[Tensor, " C"]) -> None:
    """Refuse ground truth that does not match the score matrix."""
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
            f"allowed: row numbers from 0 to {shape[0] - 1}"
        )
    bare = (torch.bincount(caption_to_image, minlength=shape[0]) == 0).nonzero().flatten().tolist()
    if bare:
        raise DataFormatError(
            f"{len(bare)} of {shape[0]} images have no caption, among them rows {bare[:5]}; "
            "an image query needs a correct answer: remove these images from the gallery or add captions"
        )


def _refuse_nan(scores: Float[Tensor, "B C"], start: int) -> None:
    """Name the first NaN in a block of rows that begins at row ``start``."""
    bad = scores.isnan()
    if bool(bad.any()):
        row, column = bad.nonzero()[0].tolist()
        raise TrainingError(
            f"similarity is NaN at row {start + row}, column {column}; look for NaN in the features of this image and "
            "caption, then for diverged weights (train with a lower learning rate)"
        )
