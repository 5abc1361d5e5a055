"""Which galleries a set is evaluated on, and which near-duplicates count as right."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.data.captions import group_texts
from tangka_match.data.regions import read_regions
from tangka_match.data.split import Split
from tangka_match.errors import ConfigError
from tangka_match.metrics import Ranks, relevant_ranks, retrieval_ranks

BLOCK = 128
"""Images read at once."""

ROUNDING = 1e-6
"""Cosine distance that copies of one picture may show by rounding alone."""


def relevant_pairs(split: Split, threshold: float) -> Bool[Tensor, "I C"]:
    """Which captions are right for which images, near-duplicates included.

    A caption is right for its own image; for images whose features are closer to that one than ``threshold``; and for
    every image that has a caption of the same text (``data.normalise.text_key``). Near is not carried on: a picture
    near a near picture does not count.

    Args:
        split: Opened.
        threshold: Cosine distance, 0 to 2, of the images' mean region features up to which they are the same picture;
            0 means copies alone.

    Returns:
        (I, C), with at least each caption's own image.

    Raises:
        ConfigError: If the threshold is not in [0, 2].
        DataFormatError: If features are not finite.
    """
    if not 0 <= threshold <= 2:
        raise ConfigError(f"near_duplicates.threshold={threshold}: a cosine distance is between 0 and 2")
    owners = torch.as_tensor(split.caption_to_image)
    texts = torch.as_tensor(group_texts(split.captions))
    has_text = torch.zeros(split.num_images, int(texts.max()) + 1, dtype=torch.bool)
    has_text[owners, texts] = True
    means = mean_features(split)
    near = means @ means.T >= 1 - threshold - ROUNDING
    near.fill_diagonal_(True)
    return near[:, owners] | has_text[:, texts]


def mean_features(split: Split) -> Float[Tensor, "I F"]:
    """The L2-normalised mean of every image's real regions, in float32, read a block at a time."""
    found = []
    for rows in np.array_split(np.arange(split.num_images), -(-split.num_images // BLOCK)):
        regions, _ = read_regions(split.features, rows, split.image_ids)
        total = torch.from_numpy(regions).float().sum(dim=1)  # padding is zeros, and the length is divided out
        found.append(torch.nn.functional.normalize(total, dim=-1))
    return torch.cat(found)


Rescore = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From a gallery's scores, and the rows of its images and captions, to scores for image and for caption queries."""


@dataclass(frozen=True)
class EvaluationProtocol:
    """How to cut a set into galleries.

    Args:
        folds: Consecutive parts, each a gallery of its own; 5 on 5,000 images is the field's "5-fold 1K".
        gallery_size: Images of a random gallery, each with one of its captions, drawn at random; ``None`` draws none.
            Makes sets of different sizes comparable, and figures on small sets steadier.
        draws: Random galleries.
        seed: Of the draws.

    Raises:
        ConfigError: If a number is below 1, or both folds and random galleries are asked for.
    """

    folds: int = 1
    gallery_size: int | None = None
    draws: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("folds", self.folds), ("gallery_size", self.gallery_size), ("draws", self.draws)):
            if value is not None and value < 1:
                raise ConfigError(f"protocol.{name}={value}; allowed: 1 and more")
        if self.gallery_size is not None and self.folds > 1:
            raise ConfigError(
                f"protocol.folds={self.folds} and protocol.gallery_size={self.gallery_size}: choose one of the two"
            )

    def describe(self) -> str:
        """In a few words, for a table's title."""
        if self.gallery_size is not None:
            return f"{self.draws} random galleries of {self.gallery_size:,} images, one caption an image"
        return "full gallery" if self.folds == 1 else f"{self.folds} folds"


@dataclass(frozen=True)
class PooledRanks:
    """Ranks of all queries of all galleries, and the image that each query belongs to.

    Args:
        ranks: Image queries and caption queries, gallery after gallery.
        i2t_image: (queries,) row of the image in the whole set.
        t2i_image: (queries,) row of the caption's image in the whole set.
    """

    ranks: Ranks
    i2t_image: Int[Tensor, " N"]
    t2i_image: Int[Tensor, " M"]


def rank_galleries(
    similarity: Float[Tensor, "I C"],
    caption_to_image: Int[Tensor, " C"],
    protocol: EvaluationProtocol,
    *,
    rescore: Rescore | None = None,
    relevant: Bool[Tensor, "I C"] | None = None,
) -> PooledRanks:
    """Rank every gallery of a protocol within itself.

    Args:
        similarity: Scores of the whole set, (I, C).
        caption_to_image: The row of every caption's image, (C,).
        protocol: Which galleries.
        rescore: Changes the scores of each gallery before it is ranked.
        relevant: (I, C), which pairs count as right; a caption and its own image alone where ``None``.

    Raises:
        ConfigError: If the set has fewer images than folds, or than a gallery.
        TrainingError: If a score is NaN.
    """
    parts = []
    for images, captions in _galleries(len(similarity), caption_to_image, protocol):
        row_of = torch.full((len(similarity),), -1)
        row_of[images] = torch.arange(len(images))
        owners = row_of[caption_to_image[captions]]
        scores = similarity[images][:, captions]
        ranks = retrieval_ranks(scores, owners)
        if relevant is not None:
            ranks = relevant_ranks(scores, relevant[images][:, captions])
        elif rescore is not None:
            i2t, t2i = rescore(scores, images, captions)
            ranks = Ranks(retrieval_ranks(i2t, owners).i2t, retrieval_ranks(t2i, owners).t2i)
        parts.append((ranks, images, caption_to_image[captions]))
    return PooledRanks(
        Ranks(torch.cat([ranks.i2t for ranks, _, _ in parts]), torch.cat([ranks.t2i for ranks, _, _ in parts])),
        torch.cat([images for _, images, _ in parts]),
        torch.cat([owners for _, _, owners in parts]),
    )


def _galleries(
    num_images: int, caption_to_image: Int[Tensor, " C"], protocol: EvaluationProtocol
) -> list[tuple[Int[Tensor, " N"], Int[Tensor, " M"]]]:
    wanted = protocol.gallery_size or protocol.folds
    if wanted > num_images:
        name = "gallery_size" if protocol.gallery_size else "folds"
        raise ConfigError(f"protocol.{name}={wanted}, but the set has {num_images} images: give at most as many")
    if protocol.gallery_size is None:
        blocks = torch.arange(num_images).tensor_split(protocol.folds)
        return [(block, torch.isin(caption_to_image, block).nonzero().flatten()) for block in blocks]
    generator = torch.Generator().manual_seed(protocol.seed)
    return [_draw(num_images, caption_to_image, wanted, generator) for _ in range(protocol.draws)]


def _draw(
    num_images: int, caption_to_image: Int[Tensor, " C"], size: int, generator: torch.Generator
) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """Images without replacement, in order, and for each the caption that a random order of captions puts first."""
    images = torch.randperm(num_images, generator=generator)[:size].sort().values
    shuffled = torch.randperm(len(caption_to_image), generator=generator)
    by_image = shuffled[caption_to_image[shuffled].argsort(stable=True)]
    counts = torch.bincount(caption_to_image, minlength=num_images)
    return images, by_image[(counts.cumsum(0) - counts)[images]]
