"""Reasons to look at a pair, and the list of all pairs in the order of a fault's probability."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.analysis.diagnosis.pairs.held_out import FoldScores
from tangka_match.analysis.diagnosis.pairs.mismatch import find_mismatches, pair_levels
from tangka_match.data.exclude import Excluded
from tangka_match.data.feature_scan import FeatureScan
from tangka_match.data.split import Split

SWAPPED, DUPLICATE, UNKNOWN, OUTLIER = "probably swapped", "duplicate", "no known word", "outlier picture"
REASONS = (SWAPPED, DUPLICATE, UNKNOWN, OUTLIER)

MIN_PROBABILITY = 0.5
"""Probability of a mismatch from which a pair is called probably swapped."""

MAX_SHARE = 0.3
"""Largest estimated share of mismatched pairs with which pairs are called swapped. Above it, the models are too weak:
they cannot distinguish many correct pairs from random ones."""

OUTLIER_NEIGHBOURS = 5
"""An image is an outlier if its distance to the image of this rank among its nearest ones ..."""

OUTLIER_DEVIATIONS = 5.0
"""... is this many robust standard deviations (of its logarithm) above the median of all images."""

MIN_SPREAD = 0.05
"""Smallest standard deviation of the logarithm of that distance."""

BLOCK = 512
"""Images, or captions, compared with all others at once."""


class Rival(NamedTuple):
    """Best wrong answer: an image of the same fold, and one of its captions.

    Attributes:
        image: Row of the image in the pool.
        caption: Index of the caption in the pool.
    """

    image: int
    caption: int


class Suspect(NamedTuple):
    """Pair of the pool, ranked in its fold by the model that held it out.

    Attributes:
        image: Row of the image in the pool.
        caption: Index of the caption in the pool.
        name: Image id and number of the caption, as in the file of ``data.exclude``.
        fold: Index of the fold.
        gallery: Number of images of the fold.
        i2t_rank: Rank of the caption among the captions of other images, for its image; from 1.
        t2i_rank: Rank of the image among all images of the fold, for its caption; from 1.
        probability: Probability that image and caption do not belong together.
        reasons: Reasons, in the order of ``REASONS``; may be empty.
        better_caption: The caption of another image that fits the image best.
        better_image: The other image that fits the caption best, and its first caption.
        duplicates: Rows of the near-duplicates of the image, and of the images with a caption of the same text.
    """

    image: int
    caption: int
    name: Excluded
    fold: int
    gallery: int
    i2t_rank: int
    t2i_rank: int
    probability: float
    reasons: tuple[str, ...]
    better_caption: Rival
    better_image: Rival
    duplicates: tuple[int, ...]


class SuspectList(NamedTuple):
    """Result of `list_suspects`.

    Attributes:
        suspects: All pairs, the most probable mismatch first.
        share: Estimated share of mismatched pairs.
        is_usable: Whether the models are good enough to call pairs swapped (``MAX_SHARE``).
    """

    suspects: list[Suspect]
    share: float
    is_usable: bool


def list_suspects(
    pool: Split, folds: Sequence[FoldScores], groups: npt.NDArray[np.int64], outliers: npt.NDArray[np.bool_]
) -> SuspectList:
    """List all pairs of the folds with their ranks, rivals and reasons.

    The order is by the probability of a mismatch, highest first; equal ones by the sum of both ranks, largest first.

    Args:
        pool: Images of train and val.
        folds: Scores of each fold; at least one.
        groups: (N,) group of near-duplicates of each image, from ``group_images``.
        outliers: (N,) mask from `outlier_images`.
    """
    found = find_mismatches(np.concatenate([pair_levels(fold.similarity, fold.owners) for fold in folds]))
    is_usable = found.share <= MAX_SHARE
    together: dict[int, list[int]] = {}
    for image, group in enumerate(groups.tolist()):
        together.setdefault(group, []).append(image)
    suspects: list[Suspect] = []
    for fold in folds:
        probabilities = found.probability[len(suspects) : len(suspects) + len(fold.captions)]
        for pair in _pairs_of(fold, pool, probabilities):
            duplicates = tuple(other for other in together[int(groups[pair.image])] if other != pair.image)
            holds = {
                SWAPPED: is_usable and pair.probability >= MIN_PROBABILITY,
                DUPLICATE: bool(duplicates),
                UNKNOWN: UNKNOWN in pair.reasons,
                OUTLIER: bool(outliers[pair.image]),
            }
            reasons = tuple(reason for reason in REASONS if holds[reason])
            suspects.append(pair._replace(reasons=reasons, duplicates=duplicates))
    suspects.sort(key=lambda pair: (-pair.probability, -(pair.i2t_rank + pair.t2i_rank), pair.caption))
    return SuspectList(suspects, found.share, is_usable)


def _pairs_of(fold: FoldScores, pool: Split, probabilities: npt.NDArray[np.float64]) -> Iterator[Suspect]:
    """Yield the pairs of a fold in the order of its captions, without the reasons that other data decide."""
    i2t, t2i = pair_ranks(fold.similarity, fold.owners)
    best_captions, best_images = _rivals(fold)
    first_caption = np.searchsorted(pool.caption_to_image, np.arange(pool.num_images))
    for column, (caption, row) in enumerate(zip(fold.captions.tolist(), fold.owners.tolist(), strict=True)):
        image = int(fold.images[row])
        better_caption, better_image = int(fold.captions[best_captions[row]]), int(fold.images[best_images[column]])
        yield Suspect(
            image,
            caption,
            Excluded(pool.image_ids[image], caption - int(first_caption[image]) + 1),
            fold.fold,
            len(fold.images),
            int(i2t[column]),
            int(t2i[column]),
            float(probabilities[column]),
            (UNKNOWN,) if fold.unknown[column] else (),
            Rival(int(pool.caption_to_image[better_caption]), better_caption),
            Rival(better_image, int(first_caption[better_image])),
            (),
        )


def pair_ranks(
    similarity: Float[Tensor, "I C"], owners: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rank each pair in both directions, from 1; other captions of its image do not compete with it.

    Ties rank as in ``retrieval_ranks``, which gives the best of an image's captions instead.

    Args:
        similarity: (I, C) scores.
        owners: (C,) row of each caption's image.

    Returns:
        Ranks (C,) among the captions of other images, and ranks (C,) among the images.

    >>> pair_ranks(torch.tensor([[0.1, 0.8, 0.3], [0.5, 0.9, 0.2]]), np.array([0, 0, 1]))
    (array([2, 1, 3]), array([2, 2, 2]))
    """
    rows, columns = torch.as_tensor(owners), torch.arange(len(owners))
    own = similarity[rows, columns]
    images = torch.arange(len(similarity))[:, None]
    above = (similarity > own) | ((similarity == own) & (images > rows))
    i2t = torch.empty_like(columns)
    for block in columns.split(BLOCK):
        scores, asked = similarity[rows[block]], own[block, None]  # (B, C): one row per caption, that of its image
        ahead = (scores > asked) | ((scores == asked) & (columns > block[:, None]))
        i2t[block] = (ahead & (rows != rows[block, None])).sum(dim=1) + 1
    return i2t.numpy(), (above.sum(dim=0) + 1).numpy()


def outlier_images(scans: Sequence[FeatureScan]) -> npt.NDArray[np.bool_]:
    """Find images that are far from all others, (N,): a blank scan, a logo, a picture of something else.

    The distance of two images is that of their mean features, each region scaled to unit norm.

    Args:
        scans: Statistics of the parts of a pool, N images in total; images without a valid region are outliers.
    """
    valid = np.concatenate([scan.valid.any(axis=1) for scan in scans])
    outliers = ~valid
    if valid.sum() <= OUTLIER_NEIGHBOURS:
        return outliers
    means = torch.from_numpy(np.concatenate([scan.means for scan in scans])[valid])
    nearest = [
        torch.cdist(block, means).topk(OUTLIER_NEIGHBOURS + 1, dim=1, largest=False).values[:, -1]
        for block in means.split(BLOCK)
    ]
    logs = torch.cat(nearest).clamp(min=1e-6).log().double().numpy()
    spread = 1.4826 * float(np.median(np.abs(logs - np.median(logs))))
    outliers[valid] = logs > np.median(logs) + OUTLIER_DEVIATIONS * max(spread, MIN_SPREAD)
    return outliers


def _rivals(fold: FoldScores) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the best wrong caption of each image, (I,), and the best wrong image of each caption, (C,)."""
    own = torch.as_tensor(fold.owners)[None, :] == torch.arange(len(fold.images))[:, None]
    wrong = fold.similarity.masked_fill(own, -torch.inf)
    return wrong.argmax(dim=1).numpy(), wrong.argmax(dim=0).numpy()
