"""Score every image of a corpus against every caption in chunks that fit into memory."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.errors import ConfigError, ShapeError
from tangka_match.ops import GPU_MEMORY_SHARE, free_gpu_memory
from tangka_match.retrieval.encode import device_of, inference
from tangka_match.types import Encoded, Matcher

MAX_ELEMENTS = 2**25
"""Elements in the largest tensor of a chunk: 128 MB in float32. A matcher holds a few such tensors at once."""

_TENSORS_AT_ONCE = 32
"""Tensors of the size of a chunk that a GPU is taken to hold at once."""

CAPTION_CHUNK = 64
"""Captions per chunk, unless one image against them exceeds ``max_elements``."""


def score_matrix(
    matcher: Matcher,
    images: Encoded,
    texts: Encoded,
    *,
    image_chunk: int | None = None,
    caption_chunk: int | None = None,
    max_elements: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    output: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "I C"]:
    """Compute the whole similarity matrix with bounded memory.

    A matcher that compares regions with words holds tensors of images x captions x words x dimensions (or x regions).
    Chunk sizes keep this product under ``max_elements``. Captions are sorted by length and padding is trimmed, so that
    chunks of short captions take more images at once. Chunking changes the scores by rounding only, as `Matcher`
    requires; rows and columns keep the order of the input.

    On a GPU the encoded images are copied once, if they take at most ``GPU_MEMORY_SHARE`` of its free memory, and the
    scores of each chunk of captions are copied back at once. If its memory runs out, chunks are halved.

    Args:
        matcher: Model; used in evaluation mode, and returned to its previous mode.
        images: I encoded images.
        texts: C encoded captions.
        image_chunk: Images per chunk; chosen by ``max_elements`` if not given.
        caption_chunk: Captions per chunk; chosen by ``max_elements`` if not given, at most ``CAPTION_CHUNK``.
        max_elements: Upper bound of images x captions x words x max(dimensions, regions) per chunk;
            `default_elements` if not given. A chunk has at least one image and one caption, even above this bound.
        device: Device of the computation; the matcher's own if not given.
        dtype: Precision of the computation, see `inference`.
        output: Device of the result.
        progress: Callback after each chunk of captions, with the number of captions done and in total.

    Returns:
        Scores, (I, C), float32 on ``output``: rows images, columns captions, higher = closer.

    Raises:
        ConfigError: If a chunk size or ``max_elements`` is below 1, or not even one image fits in the GPU's memory.
        ShapeError: If the matcher does not return one score per image and caption of a chunk.
    """
    for name, size in (("image_chunk", image_chunk), ("caption_chunk", caption_chunk), ("max_elements", max_elements)):
        if size is not None and size < 1:
            raise ConfigError(f"{name}={size} must be >= 1; leave it out to have it chosen")
    target = device_of(matcher, _vectors(images).device) if device is None else torch.device(device)
    result, done = torch.empty(len(images), len(texts), device=output), 0
    limit = default_elements(target) if max_elements is None else max_elements
    with inference(matcher, target, dtype):
        rows = _Rows(matcher, images, target)
        for columns in _caption_chunks(images, texts, caption_chunk, limit):
            captions = _trim(texts[columns]).to(target)
            budget = limit // (len(columns) * _pair_elements(images, captions))
            scores = rows.score(captions, min(image_chunk or max(1, budget), len(images)))
            result[:, columns.to(output)] = scores.to(output)  # at once, so that the host waits once per chunk
            done += len(columns)
            if progress is not None:
                progress(done, len(texts))
    return result


def default_elements(device: torch.device) -> int:
    """Return the bound of elements per chunk: ``MAX_ELEMENTS``, or more on a GPU with memory to spare.

    It is a power of two, so that small changes of the free memory do not change the chunks, and with them the rounding.
    """
    if device.type != "cuda":
        return MAX_ELEMENTS
    affordable = free_gpu_memory(device) // (4 * _TENSORS_AT_ONCE)
    return max(MAX_ELEMENTS, 1 << max(affordable, 1).bit_length() - 1)


class _Rows:
    """Encoded images, scored in chunks on the device of the computation.

    Args:
        matcher: Model.
        images: Encoded images.
        target: Device of the computation.
    """

    def __init__(self, matcher: Matcher, images: Encoded, target: torch.device) -> None:
        self._matcher, self._target = matcher, target
        self._lengths = _lengths(images).cpu()  # on the host, which then waits for the device only once per block
        self._images = images.to(target) if fits_on_gpu(images, target) else images
        self._parts = 1  # in how many parts a chunk is divided, because the memory ran out

    def score(self, captions: Encoded, step: int) -> Float[Tensor, "I c"]:
        """Score all images against a chunk of captions, ``step`` images at a time.

        Raises:
            ConfigError: If the memory of the device runs out with a single image.
        """
        found: list[Tensor] = []
        start = 0
        while start < len(self._images):
            size = max(1, step // self._parts)
            try:
                found.append(_score(self._matcher, self._chunk(start, size), captions).float())
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise ConfigError(
                        f"the memory of {self._target} ran out while one image was scored against {len(captions)} "
                        "captions: use device=cpu, or free the GPU (nvidia-smi lists the programs on it)"
                    ) from error
                self._parts *= 2
                torch.cuda.empty_cache()
                continue
            start += size
        return torch.cat(found) if found else torch.empty(0, len(captions), device=self._target)

    def _chunk(self, start: int, size: int) -> Encoded:
        """Return images from row ``start`` on, without the padding that all of them share."""
        longest = int(self._lengths[start : start + size].max())
        return _cut(self._images[start : start + size], longest).to(self._target)


def fits_on_gpu(encoded: Encoded, device: torch.device) -> bool:
    """Whether a device is a GPU with enough free memory to keep encodings there (``GPU_MEMORY_SHARE``)."""
    if device.type != "cuda":
        return False
    size = sum(part.nbytes for part in (encoded.pooled, encoded.tokens, encoded.mask) if part is not None)
    return size <= GPU_MEMORY_SHARE * free_gpu_memory(device)


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
    """Split the captions, sorted by length, into chunks that fit the budget with one image."""
    largest = max_elements // _pair_elements(images, texts)
    step = caption_chunk or max(1, min(CAPTION_CHUNK, largest))
    return iter(_lengths(texts).cpu().argsort(stable=True).split(step))


def _pair_elements(images: Encoded, texts: Encoded) -> int:
    """Return the elements that one image against one caption takes: words x max(dimensions, regions)."""
    words = 1 if texts.tokens is None else texts.tokens.shape[1]
    regions = 1 if images.tokens is None else images.tokens.shape[1]
    return words * max(_vectors(texts).shape[-1], regions)


def _vectors(encoded: Encoded) -> Float[Tensor, "N D"] | Float[Tensor, "N L D"]:
    """Return the sequences if there are any, else the pooled vectors."""
    return encoded.pooled if encoded.tokens is None else encoded.tokens  # type: ignore[return-value]


def _lengths(encoded: Encoded) -> Int[Tensor, " N"]:
    """Return the length of each item up to its last real position; 1 for pooled vectors."""
    if encoded.mask is None:
        return torch.ones(len(encoded), dtype=torch.int64)
    positions = torch.arange(1, encoded.mask.shape[1] + 1, device=encoded.mask.device)
    return (encoded.mask * positions).amax(dim=1).clamp(min=1)


def _trim(encoded: Encoded) -> Encoded:
    """Remove the padding that all items share."""
    return _cut(encoded, int(_lengths(encoded).max()))


def _cut(encoded: Encoded, length: int) -> Encoded:
    """Keep the first positions of each item."""
    if encoded.tokens is None or encoded.mask is None:
        return encoded
    return Encoded(encoded.pooled, encoded.tokens[:, :length], encoded.mask[:, :length])
