"""Encode a corpus batch by batch."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeGuard

import torch
from jaxtyping import Int
from torch import Tensor, nn

from tangka_match.errors import DataFormatError
from tangka_match.ops import bound_primitive_caches, tf32
from tangka_match.types import CaptionBatch, CorrectedMatcher, Encoded, ImageBatch, Matcher


@contextmanager
def inference(matcher: Matcher, device: torch.device, dtype: torch.dtype = torch.float32) -> Iterator[None]:
    """Switch to evaluation mode without gradients in the given precision; restore the modes on exit.

    Modes are restored per module, because a frozen part may be in evaluation mode while the rest trains. Autocast is
    off by default, because bfloat16 has only 128 levels between 0.5 and 1: in a gallery of thousands most scores tie.
    TF32 is off too.

    Args:
        matcher: Model to use.
        device: Device of the computation.
        dtype: ``torch.float32``, or ``torch.bfloat16`` to compute under autocast.
    """
    modes = {part: part.training for part in matcher.modules()} if isinstance(matcher, nn.Module) else {}
    if isinstance(matcher, nn.Module):
        matcher.eval()
    bound_primitive_caches()
    try:
        with (
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16),
            tf32(allowed=False),
        ):
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def device_of(matcher: Matcher, otherwise: torch.device) -> torch.device:
    """Return the device of the matcher's parameters, or ``otherwise`` if it has none."""
    parameter = next(matcher.parameters(), None) if isinstance(matcher, nn.Module) else None
    return otherwise if parameter is None else parameter.device


def corrects_scores(matcher: Matcher) -> TypeGuard[CorrectedMatcher]:
    """Return whether the vectors of a matcher hold a correction of its scores."""
    return isinstance(matcher, CorrectedMatcher) and matcher.correction_dims > 0


def drop_correction(matcher: Matcher, encoded: Encoded) -> Encoded:
    """Return the vectors without the components that correct scores, to compare images with images."""
    if encoded.pooled is None or not corrects_scores(matcher):
        return encoded
    return replace(encoded, pooled=encoded.pooled[:, : -matcher.correction_dims])


def encode_image_batches(
    matcher: Matcher, batches: Iterable[ImageBatch], device: torch.device | str, dtype: torch.dtype = torch.float32
) -> Encoded:
    """Encode images and sort them by their index.

    Args:
        matcher: Model; used in evaluation mode, and returned to its previous mode.
        batches: Images in any order. Features of any floating dtype are cast to float32. Images that occur more than
            once, as with distributed samplers that pad the last batch, are kept once.
        device: Device of the matcher.
        dtype: Precision of the computation, see `inference`; the result is float32.

    Returns:
        Encoded images in float32 on the CPU, where a corpus larger than the GPU memory fits; row n has the n-th
        smallest ``image_index``. Sequences are padded to the longest batch.

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
    """Encode captions and sort them by their index.

    Args:
        matcher: Model; used in evaluation mode, and returned to its previous mode.
        batches: Captions in any order, for example sorted by length; captions that occur more than once are kept once.
        device: Device of the matcher.
        dtype: Precision of the computation, see `inference`; the result is float32.

    Returns:
        Encoded captions in float32 on the CPU; row n has the n-th smallest ``caption_index``. Sequences are padded to
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
    """Join batches, sort them by index, and keep the first item of each index; empties ``parts``.

    Batches are copied one by one into tensors of the final size, because a padded corpus is large: 5,000 captions of up
    to 60 words take 1.2 GB, and joining before sorting would hold three copies of them.

    Called outside inference mode, so that the results are ordinary tensors.
    """
    if not parts:
        raise DataFormatError(f"there are 0 {kind} batches to encode; a split needs at least one {kind}")
    ordered, order = torch.cat(indices).cpu().sort(stable=True)
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    rows = torch.full_like(order, -1)  # target row of each incoming item; -1 for a repeated one
    rows[order[is_first]] = torch.arange(int(is_first.sum()))
    return _fill(parts, rows)


def _fill(parts: list[Encoded], rows: Int[Tensor, " N"]) -> Encoded:
    """Copy each item to its row, with sequences padded to the longest; empties ``parts``."""
    number, one = int(rows.max()) + 1, parts[0]
    longest = max(0 if part.tokens is None else part.tokens.shape[1] for part in parts)
    pooled = None if one.pooled is None else one.pooled.new_zeros(number, one.pooled.shape[1])
    tokens = None if one.tokens is None else one.tokens.new_zeros(number, longest, one.tokens.shape[2])
    mask = None if one.mask is None else one.mask.new_zeros(number, longest)
    end = len(rows)
    while parts:
        part = parts.pop()
        target = rows[end - len(part) : end]
        end -= len(part)
        kept = target >= 0
        if pooled is not None and part.pooled is not None:
            pooled[target[kept]] = part.pooled[kept]
        if tokens is not None and mask is not None and part.tokens is not None and part.mask is not None:
            length = part.tokens.shape[1]
            tokens[target[kept], :length] = part.tokens[kept]
            mask[target[kept], :length] = part.mask[kept]
    return Encoded(pooled, tokens, mask)
