"""Score every image of a corpus against every caption, in pieces that fit into memory."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.errors import ConfigError, ShapeError
from tangka_match.retrieval.encode import device_of, inference
from tangka_match.types import Encoded, Matcher

MAX_ELEMENTS = 2**25
"""Numbers in the largest tensor of a piece: 128 MB in float32. A matcher holds a few such tensors at once."""

CAPTION_CHUNK = 64
"""Captions scored at once, unless one image against so many is too much; sorted by length, they hold little padding."""


def score_matrix(
    matcher: Matcher,
    images: Encoded,
    texts: Encoded,
    *,
    image_chunk: int | None = None,
    caption_chunk: int | None = None,
    max_elements: int = MAX_ELEMENTS,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "I C"]:
    """Compute the whole similarity matrix with bounded memory.

    A matcher that compares regions with words holds tensors of images x captions x words x dimensions (or x regions).
    Chunk sizes are chosen so that this product stays under ``max_elements``: captions are taken in the order of their
    length and padding is cut off, so that chunks of short captions meet more images at once. The scores do not depend
    on the chunks beyond rounding, as `Matcher` promises; the order of rows and columns is that of the input.

    Args:
        matcher: The model; used in evaluation mode, left in the mode it was in.
        images: I encoded images.
        texts: C encoded captions.
        image_chunk: Images scored at once; chosen by ``max_elements`` if not given.
        caption_chunk: Captions scored at once; chosen if not given.
        max_elements: Upper bound of a chunk's images x captions x words x max(dimensions, regions). One image against
            one caption is the smallest chunk, however large that is.
        device: Where to score; the matcher's own device if not given.
        dtype: Of the computation, see ``inference``.
        progress: Called after each chunk of captions with the captions done and their number.

    Returns:
        Scores, (I, C), float32 on the CPU: rows images, columns captions, higher = closer.

    Raises:
        ConfigError: If a chunk size or the budget is below 1.
        ShapeError: If the matcher does not answer with one score for every image and caption of a chunk.
    """
    for name, size in (("image_chunk", image_chunk), ("caption_chunk", caption_chunk), ("max_elements", max_elements)):
        if size is not None and size < 1:
            raise ConfigError(f"{name}={size} leaves nothing to score at once; give at least 1, or leave it out")
    target = device_of(matcher, _vectors(images).device) if device is None else torch.device(device)
    result = torch.empty(len(images), len(texts))
    done = 0
    with inference(matcher, target, dtype):
        for columns in _caption_chunks(images, texts, caption_chunk, max_elements):
            captions = _trim(texts[columns]).to(target)
            budget = max_elements // (len(columns) * _cost_of_a_pair(images, captions))
            step = image_chunk or max(1, budget)
            for start in range(0, len(images), step):
                rows = _trim(images[start : start + step]).to(target)
                result[start : start + step, columns] = _score(matcher, rows, captions).to("cpu", torch.float32)
            done += len(columns)
            if progress is not None:
                progress(done, len(texts))
    return result


def _score(matcher: Matcher, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
    scores = matcher.similarity(images, texts)
    if tuple(scores.shape) != (len(images), len(texts)):
        raise ShapeError(
            f"{type(matcher).__name__}.similarity returned {tuple(scores.shape)} for {len(images)} images "
            f"and {len(texts)} captions; it must return (I, C), rows images"
        )
    return scores


def _caption_chunks(
    images: Encoded, texts: Encoded, caption_chunk: int | None, max_elements: int
) -> Iterator[Int[Tensor, " N"]]:
    """Cut the captions, longest last, into chunks of which one image at a time is within the budget."""
    largest = max_elements // _cost_of_a_pair(images, texts)
    step = caption_chunk or max(1, min(CAPTION_CHUNK, largest))
    return iter(_lengths(texts).cpu().argsort(stable=True).split(step))


def _cost_of_a_pair(images: Encoded, texts: Encoded) -> int:
    """Numbers that one image against one caption may take: words x max(dimensions, regions)."""
    words = 1 if texts.tokens is None else texts.tokens.shape[1]
    regions = 1 if images.tokens is None else images.tokens.shape[1]
    return words * max(_vectors(texts).shape[-1], regions)


def _vectors(encoded: Encoded) -> Float[Tensor, "N D"] | Float[Tensor, "N L D"]:
    """Return the sequences if there are any, else the pooled vectors; an Encoded holds one of them."""
    return encoded.pooled if encoded.tokens is None else encoded.tokens  # type: ignore[return-value]


def _lengths(encoded: Encoded) -> Int[Tensor, " N"]:
    """Positions up to the last real one of every item; 1 where there are vectors only."""
    if encoded.mask is None:
        return torch.ones(len(encoded), dtype=torch.int64)
    positions = torch.arange(1, encoded.mask.shape[1] + 1, device=encoded.mask.device)
    return (encoded.mask * positions).amax(dim=1).clamp(min=1)


def _trim(encoded: Encoded) -> Encoded:
    """Cut off the padding that all items share."""
    if encoded.tokens is None or encoded.mask is None:
        return encoded
    longest = int(_lengths(encoded).max())
    return Encoded(encoded.pooled, encoded.tokens[:, :longest], encoded.mask[:, :longest])


FUSIONS = ("mean", "rank")


def rank_scores(similarity: Float[Tensor, "I C"], values: Float[Tensor, "N M"] | None = None) -> Float[Tensor, "N M"]:
    """Replace scores by the negative logarithm of their place among all scores of a matrix.

    The mean of such matrices over models is the rank product (Breitling et al. 2004, FEBS Letters 573:83-92): models
    count alike whatever the scale of their scores, and high places count more than low ones. One model alone ranks as
    before; the same holds for any strictly increasing function of its scores. Equal scores stay equal.

    Args:
        similarity: Scores of one model, (I, C).
        values: Scores of the same model to be placed among those of ``similarity``; these themselves where ``None``.

    Returns:
        0 for the best score, below 0 for the others, float32; NaN stays NaN, so that ranking refuses it.

    Example:
        >>> torch.exp(-rank_scores(torch.tensor([[0.9, 0.1], [0.3, 0.3]])))
        tensor([[1., 4.],
                [2., 2.]])
    """
    ordered = similarity.flatten().sort().values
    asked = (similarity if values is None else values).contiguous()
    better = len(ordered) - torch.searchsorted(ordered, asked, right=True)
    return -torch.log1p(better.double()).float().masked_fill(asked.isnan(), float("nan"))
