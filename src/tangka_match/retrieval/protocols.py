"""Evaluation protocols: the galleries of a split, and near-duplicates that count as correct."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.data.captions import group_texts
from tangka_match.data.regions import read_regions
from tangka_match.data.split import Split
from tangka_match.errors import ConfigError
from tangka_match.metrics import Ranks, relevant_ranks, retrieval_ranks, summarise

BLOCK = 128
"""Images read at once."""

ROUNDING = 1e-6
"""Largest cosine distance between copies of one picture that rounding can cause."""

Rescore = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Function from a gallery's scores, image rows and caption indices to scores for image and for caption queries."""


@dataclass(frozen=True)
class EvaluationProtocol:
    """Division of a split into galleries.

    Args:
        folds: Number of consecutive parts, each a gallery; 5 on 5,000 images is COCO's "5-fold 1K".
        gallery_size: Images per random gallery, each with one random caption of its own; ``None`` for no random
            galleries. They make splits of different sizes comparable and reduce the variance on small splits.
        draws: Number of random galleries.
        seed: Seed of the draws.
        average_folds: Whether a metric is the mean over the folds, as published for COCO, instead of the metric of the
            queries of all folds. The two differ for median ranks, and for folds of unequal size.

    Raises:
        ConfigError: If a number is below 1, both ``folds`` and ``gallery_size`` are given, or ``average_folds`` without
            ``folds``.
    """

    folds: int = 1
    gallery_size: int | None = None
    draws: int = 50
    seed: int = 0
    average_folds: bool = False

    def __post_init__(self) -> None:
        for name, value in (("folds", self.folds), ("gallery_size", self.gallery_size), ("draws", self.draws)):
            if value is not None and value < 1:
                raise ConfigError(f"protocol.{name}={value} must be >= 1")
        if self.gallery_size is not None and self.folds > 1:
            raise ConfigError(
                f"protocol.folds={self.folds} and protocol.gallery_size={self.gallery_size}: choose one of the two"
            )
        if self.average_folds and self.folds == 1:
            raise ConfigError("protocol.average_folds=true needs protocol.folds of at least 2")

    def smallest_gallery(self, num_images: int) -> int:
        """Return the number of images in the smallest gallery of a split of ``num_images`` images."""
        return self.gallery_size or num_images // self.folds

    def describe(self) -> str:
        """Describe the protocol in a few words, for the title of a table."""
        if self.gallery_size is not None:
            return f"{self.draws} random galleries of {self.gallery_size:,} images, one caption per image"
        average = "mean over " if self.average_folds else ""
        return "full gallery" if self.folds == 1 else f"{average}{self.folds} folds"


@dataclass(frozen=True)
class PooledRanks:
    """Ranks of all queries of all galleries, with the image of each query.

    Args:
        ranks: Ranks of the image and the caption queries, gallery after gallery.
        i2t_image: Row of each image query in the split, (N,).
        t2i_image: Row of each caption query's image in the split, (M,).
        galleries: The ranks of each gallery on its own.
    """

    ranks: Ranks
    i2t_image: Int[Tensor, " N"]
    t2i_image: Int[Tensor, " M"]
    galleries: Sequence[Ranks]

    def metrics(self, protocol: EvaluationProtocol) -> dict[str, float]:
        """Summarise the ranks over all queries, or as the mean over the folds."""
        if not protocol.average_folds:
            return summarise(self.ranks)
        summaries = [summarise(ranks) for ranks in self.galleries]
        return {name: fmean(summary[name] for summary in summaries) for name in summaries[0]}


def rank_galleries(
    similarity: Float[Tensor, "I C"],
    caption_to_image: Int[Tensor, " C"],
    protocol: EvaluationProtocol,
    *,
    rescore: Rescore | None = None,
    relevant: Bool[Tensor, "I C"] | None = None,
) -> PooledRanks:
    """Rank the queries of each gallery of a protocol within that gallery; ties rank as in `retrieval_ranks`.

    Args:
        similarity: Scores of the whole split, (I, C).
        caption_to_image: Row of each caption's image, (C,).
        protocol: Galleries to rank.
        rescore: Correction of the scores of each gallery before ranking.
        relevant: Pairs that count as correct, (I, C); only each caption's own image if ``None``.

    Raises:
        ConfigError: If the split has fewer images than folds, or than ``gallery_size``.
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
        [ranks for ranks, _, _ in parts],
    )


def _galleries(
    num_images: int, caption_to_image: Int[Tensor, " C"], protocol: EvaluationProtocol
) -> list[tuple[Int[Tensor, " N"], Int[Tensor, " M"]]]:
    wanted = protocol.gallery_size or protocol.folds
    if wanted > num_images:
        name = "gallery_size" if protocol.gallery_size else "folds"
        raise ConfigError(f"protocol.{name}={wanted} must be at most {num_images}, the number of images")
    if protocol.gallery_size is None:
        blocks = torch.arange(num_images).tensor_split(protocol.folds)
        return [(block, torch.isin(caption_to_image, block).nonzero().flatten()) for block in blocks]
    generator = torch.Generator().manual_seed(protocol.seed)
    return [_draw(num_images, caption_to_image, wanted, generator) for _ in range(protocol.draws)]


def _draw(
    num_images: int, caption_to_image: Int[Tensor, " C"], size: int, generator: torch.Generator
) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """Draw images without replacement, sorted, and one random caption of each."""
    images = torch.randperm(num_images, generator=generator)[:size].sort().values
    shuffled = torch.randperm(len(caption_to_image), generator=generator)
    by_image = shuffled[caption_to_image[shuffled].argsort(stable=True)]
    counts = torch.bincount(caption_to_image, minlength=num_images)
    return images, by_image[(counts.cumsum(0) - counts)[images]]


def relevant_pairs(split: Split, threshold: float) -> Bool[Tensor, "I C"]:
    """Find the captions that are correct for each image, near-duplicates included.

    A caption is correct for its own image, for images within ``threshold`` of it, and for images that have a caption
    with the same text. The relation is not transitive: a near-duplicate of a near-duplicate does not count.

    Args:
        split: Opened split.
        threshold: Cosine distance between mean region features up to which two images count as the same picture, in
            [0, 2]; 0 means exact copies only.

    Returns:
        Correct pairs, (I, C), at least each caption with its own image.

    Raises:
        ConfigError: If ``threshold`` is not in [0, 2].
        DataFormatError: If features are not finite.
    """
    if not 0 <= threshold <= 2:
        raise ConfigError(f"near_duplicates.threshold={threshold} must be in [0, 2]: it is a cosine distance")
    owners = torch.as_tensor(split.caption_to_image)
    texts = torch.as_tensor(group_texts(split.captions))
    has_text = torch.zeros(split.num_images, int(texts.max()) + 1, dtype=torch.bool)
    has_text[owners, texts] = True
    means = mean_features(split)
    near = means @ means.T >= 1 - threshold - ROUNDING
    near.fill_diagonal_(True)
    return near[:, owners] | has_text[:, texts]


def mean_features(split: Split) -> Float[Tensor, "I F"]:
    """Compute the L2-normalised mean of each image's real regions, (I, F) float32, block by block."""
    found = []
    for rows in np.array_split(np.arange(split.num_images), -(-split.num_images // BLOCK)):
        regions, _ = read_regions(split.features, rows, split.image_ids)
        total = torch.from_numpy(regions).float().sum(dim=1)  # padding is zero, and normalising cancels the count
        found.append(torch.nn.functional.normalize(total, dim=-1))
    return torch.cat(found)
