"""Encode a corpus batch by batch."""

from collections.abc import Iterable

import torch
from jaxtyping import Int
from torch import Tensor

from tangka_match.errors import DataFormatError
from tangka_match.retrieval.inference import inference
from tangka_match.types import CaptionBatch, Encoded, ImageBatch, Matcher


def encode_image_batches(
    matcher: Matcher, batches: Iterable[ImageBatch], device: torch.device | str, dtype: torch.dtype = torch.float32
) -> Encoded:
    """Encode images and put them in the order of their index.

    Args:
        matcher: The model; used in evaluation mode, left in the mode it was in.
        batches: Images in any order. Features of any floating dtype are cast to float32, which most stored as float16
            need. An image that comes twice, as samplers of several processes repeat some, is kept once.
        device: Where the matcher is.
        dtype: Of the computation, see ``inference``; what comes back is float32.

    Returns:
        Encoded images in float32 on the CPU, where a corpus larger than the GPU fits; row n is the n-th smallest
        ``image_index``. Sequences are padded to the longest batch.

    Raises:
        DataFormatError: If there are no batches.
    """
    parts: list[Encoded] = []
    indices: list[Tensor] = []
    with inference(matcher, torch.device(device), dtype):
        for batch in batches:
            encoded = matcher.encode_images(batch.regions.to(device, torch.float32), batch.region_mask.to(device))
            parts.append(encoded.to("cpu", torch.float32))
            indices.append(batch.image_index)
    return _in_order(parts, indices, "image")


def encode_caption_batches(
    matcher: Matcher, batches: Iterable[CaptionBatch], device: torch.device | str, dtype: torch.dtype = torch.float32
) -> Encoded:
    """Encode captions and put them in the order of their index.

    Args:
        matcher: The model; used in evaluation mode, left in the mode it was in.
        batches: Captions in any order, for instance sorted by length; one that comes twice is kept once.
        device: Where the matcher is.
        dtype: Of the computation, see ``inference``; what comes back is float32.

    Returns:
        Encoded captions in float32 on the CPU; row n is the n-th smallest ``caption_index``. Sequences are padded to
        the longest batch.

    Raises:
        DataFormatError: If there are no batches.
    """
    parts: list[Encoded] = []
    indices: list[Tensor] = []
    with inference(matcher, torch.device(device), dtype):
        for batch in batches:
            encoded = matcher.encode_texts(batch.token_ids.to(device), batch.token_mask.to(device))
            parts.append(encoded.to("cpu", torch.float32))
            indices.append(batch.caption_index)
    return _in_order(parts, indices, "caption")


def _in_order(parts: list[Encoded], indices: list[Int[Tensor, " B"]], kind: str) -> Encoded:
    """Join batches, sort them by index, and keep the first of every index.

    Called outside inference mode, so that what comes out are ordinary tensors.
    """
    if not parts:
        raise DataFormatError(f"0 {kind} batches came in; a split needs at least one {kind} to be encoded")
    ordered, order = torch.cat(indices).cpu().sort(stable=True)
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return Encoded.concatenate(parts)[order[is_first]]
