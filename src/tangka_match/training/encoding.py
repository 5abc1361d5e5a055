"""Encoding in training: batches in chunks (GradCache), and the validation set."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.losses import LossContext
from tangka_match.retrieval import encode_caption_batches, encode_image_batches, score_matrix
from tangka_match.types import CaptionBatch, Encoded, ImageBatch, LengthReader, Lengths, Matcher


def encode_texts(
    matcher: Matcher, token_ids: Tensor, token_mask: Tensor, lengths: Lengths | None, chunk_size: int | None = None
) -> Encoded:
    """Encode captions, with their lengths if the matcher reads them and they are known on the host."""
    known: tuple[Tensor | Lengths, ...] = (token_ids, token_mask)
    if lengths is not None and isinstance(matcher, LengthReader) and matcher.reads_lengths:
        known = (*known, lengths)
    return encode_in_chunks(matcher.encode_texts, chunk_size, *known)


def encode_in_chunks(encode: Callable[..., Encoded], chunk_size: int | None, *inputs: Tensor | Lengths) -> Encoded:
    """Encode images or captions in chunks by gradient caching, so that large batches fit in memory.

    Gradient caching (GradCache, Gao et al. 2021, arXiv:2101.06983) is implemented with torch's activation
    checkpointing: the forward pass keeps only the embeddings of each chunk, and the backward pass encodes each chunk
    again with the same dropout mask. Loss and gradients are those of the whole batch, at the cost of encoding twice.
    Encoders whose items interact, as in batch normalisation, see each chunk as a batch of its own, and update their
    running statistics twice.

    Args:
        encode: ``Matcher.encode_images`` or ``Matcher.encode_texts``.
        chunk_size: Items per chunk; ``None`` encodes all at once.
        inputs: Arguments of ``encode``, one item per row.
    """
    if chunk_size is None:
        return encode(*inputs)
    chunks = ([part[start : start + chunk_size] for part in inputs] for start in range(0, len(inputs[0]), chunk_size))
    return Encoded.concatenate([checkpoint(encode, *chunk, use_reentrant=False) for chunk in chunks])


class EncodedGallery:
    """Encoded images and captions of the validation set, collected batch by batch.

    Args:
        matcher: The model in evaluation mode.
    """

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self._images: list[Encoded] = []
        self._texts: list[Encoded] = []
        self._captions: list[CaptionBatch] = []

    def add(self, batch: ImageBatch | CaptionBatch) -> None:
        """Encode a batch of images or captions."""
        if isinstance(batch, ImageBatch):
            self._images.append(self._matcher.encode_images(batch.regions.float(), batch.region_mask))
        else:
            self._texts.append(self._matcher.encode_texts(batch.token_ids, batch.token_mask))
            self._captions.append(batch)

    def concatenate(self) -> tuple[Encoded, Encoded]:
        """Return all images and all captions, and release the batches they came in."""
        images, texts = Encoded.concatenate(self._images), Encoded.concatenate(self._texts)
        self._images, self._texts = [], []
        return images, texts

    def context(self, images: Encoded, texts: Encoded) -> LossContext:
        """Return the context of the whole validation set, with captions padded to the longest."""
        ids = pad_sequence([row for batch in self._captions for row in batch.token_ids], batch_first=True)
        mask = pad_sequence([row for batch in self._captions for row in batch.token_mask], batch_first=True)
        return LossContext(images, texts, ids, mask)


def validation_similarity(
    module: Any, data: RegionTextDataModule, device: torch.device, *, held_out: bool = False
) -> Tensor:
    """Compute the scores of the whole validation set outside of Lightning's loop, (images, captions) float32.

    Args:
        module: The ``MatchingModule``; its matcher is moved to ``device`` and set to evaluation mode.
        data: The data module, set up.
        device: Device to compute on.
        held_out: Whether to score the held-out fold of a cross-validation instead.
    """
    matcher = module.matcher.to(device).eval()
    image_loader, caption_loader = data.held_out_dataloader() if held_out else data.val_dataloader()
    images = encode_image_batches(matcher, image_loader, device)
    texts = encode_caption_batches(matcher, caption_loader, device)
    return score_matrix(matcher, images, texts)
