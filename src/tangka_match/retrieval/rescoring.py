"""Scores of a model for a few images, or for the whole gallery in blocks."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tangka_match.retrieval.index import Index
from tangka_match.retrieval.score_matrix import score_matrix
from tangka_match.retrieval.trained_matcher import TrainedMatcher
from tangka_match.types import AuxiliaryPooling, Encoded, TokenMatcher

Scoring = Literal["product", "pooled first", "whole gallery"]
"""How a model is searched: its score is the product of two vectors; the product is a part of its score, so that the
best images are scored again; or the whole gallery is scored, because it has no comparable vectors."""

BLOCK_IMAGES = 512
"""Images scored at once when the whole gallery is scored."""
PROBES = 8
"""Images and captions whose scores are compared with the product of their vectors."""


class Rescorer:
    """Full scores of a model, on the encoded images of an index.

    Args:
        matcher: Model.
        index: Index of this model.
    """

    def __init__(self, matcher: TrainedMatcher, index: Index) -> None:
        self.matcher = matcher
        self.index = index

    def score(self, texts: Encoded, rows: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.float32]:
        """Score images against captions.

        Args:
            texts: C encoded captions of this model.
            rows: Rows of the images; all if ``None``.

        Returns:
            Scores, (C, images).
        """
        chosen = np.arange(len(self.index)) if rows is None else rows
        parts = [
            score_matrix(self.matcher.matcher, self._images(block), texts, dtype=self.matcher.dtype).numpy()
            for block in np.split(chosen, range(BLOCK_IMAGES, len(chosen), BLOCK_IMAGES))
        ]
        return np.concatenate(parts).T

    def score_captions(self, image: Encoded, texts: Encoded) -> npt.NDArray[np.float32]:
        """Score captions against one encoded image, (C,)."""
        return score_matrix(self.matcher.matcher, image, texts, dtype=self.matcher.dtype)[0].numpy()

    def image(self, row: int) -> Encoded:
        """Return one encoded image of the index."""
        return self._images(np.array([row]))

    def _images(self, rows: npt.NDArray[np.int64]) -> Encoded:
        return self.index.encoded[torch.from_numpy(rows)]


def scoring_of(rescorer: Rescorer, texts: Encoded) -> Scoring:
    """Find out how a model can be searched.

    A matcher declares that its vectors are not comparable with ``tokens_only`` or ``pooled_is_auxiliary``; whether its
    score is their product is tested on a few images.

    Args:
        rescorer: Model and index.
        texts: A few encoded captions.
    """
    matcher = rescorer.matcher.matcher
    images = rescorer.index.encoded
    has_vectors = images.pooled is not None and texts.pooled is not None
    if not has_vectors or isinstance(matcher, TokenMatcher | AuxiliaryPooling):
        return "whole gallery"
    probes = np.arange(min(PROBES, len(rescorer.index)))
    scores = rescorer.score(texts[:PROBES], probes)
    assert images.pooled is not None and texts.pooled is not None
    products = texts.pooled[:PROBES] @ images.pooled[: len(probes)].T
    tolerance = 1e-4 if rescorer.matcher.dtype == torch.float32 else 1e-2
    if np.allclose(scores, products.numpy(), atol=tolerance, rtol=tolerance):
        return "product"
    return "pooled first" if images.tokens is not None else "whole gallery"


def picture_vectors(images: Encoded) -> npt.NDArray[np.float32]:
    """Return one L2-normalised vector per image, to compare images with each other, (N, D).

    The pooled vector, or the mean of the regions for models without one. Read block by block.
    """
    parts = []
    for start in range(0, len(images), BLOCK_IMAGES):
        block = images[start : start + BLOCK_IMAGES]
        vectors = block.pooled if block.pooled is not None else _mean_region(block)
        parts.append(torch.nn.functional.normalize(vectors, dim=1).numpy())
    return np.concatenate(parts)


def _mean_region(images: Encoded) -> Tensor:
    assert images.tokens is not None and images.mask is not None
    return (images.tokens * images.mask[:, :, None]).sum(dim=1)
