"""How surely the points of a learning curve are known: by the draw of queries, and by the draw of seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.metrics import Ranks
from tangka_match.metrics.intervals import draw_images

RESAMPLES = 2000


class MeasuredPoints(NamedTuple):
    """Mean R@1 of K training sizes, S seeds each.

    Attributes:
        recalls: (K, S) in percent.
        covariance: (K, K) of the means over seeds.
        freedom: Degrees of freedom of the variance between seeds, K · (S - 1).
    """

    recalls: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    freedom: int


def measure_points(ranks: Sequence[Sequence[Ranks]], caption_to_image: Int[Tensor, " C"]) -> MeasuredPoints:
    """Recalls and their covariance, by a bootstrap over images and a variance between seeds.

    All runs answer the same queries, so an easy draw of queries lifts all points together: their covariance is that of
    the bootstrap, each image drawn with its captions. Between seeds (of weights, batches, and of the images drawn for
    the share) there is more than the bootstrap's own noise of single answers; that rest, pooled over sizes because S is
    small, is added to the variance of each point. Seeds of different sizes are taken for independent.

    Args:
        ranks: Of each size, its seeds: at least two, as many for each size.
        caption_to_image: The row of every caption's image, (C,); the same for all.

    Raises:
        ConfigError: If there are fewer than two seeds, or not as many for each size.
    """
    counts = sorted({len(seeds) for seeds in ranks})
    if len(counts) != 1 or counts[0] < 2:
        raise ConfigError(
            f"the sizes have {', '.join(map(str, counts))} seeds; allowed: at least two, as many for each size, "
            "because a single one does not say how much training varies"
        )
    sizes, seeds = len(ranks), counts[0]
    owners, runs = caption_to_image.cpu(), [run for of_size in ranks for run in of_size]
    images = len(runs[0].i2t)
    captions = torch.bincount(owners, minlength=images).double()
    i2t = torch.stack([(run.i2t.cpu() == 1).double() for run in runs], dim=1)
    t2i = torch.zeros_like(i2t).index_add_(0, owners, torch.stack([(r.t2i.cpu() == 1).double() for r in runs], dim=1))

    def recalls_of(drawn: Tensor) -> npt.NDArray[np.float64]:
        values = 50.0 * (drawn @ i2t / images + (drawn @ t2i) / (drawn @ captions)[:, None])
        return values.numpy().reshape(len(drawn), sizes, seeds)

    found = recalls_of(torch.ones(1, images, dtype=torch.float64))[0]
    drawn = recalls_of(draw_images(images, RESAMPLES, torch.Generator().manual_seed(0)))
    means = drawn.mean(axis=2)
    queries = np.atleast_2d(np.cov(means.T))
    freedom = sizes * (seeds - 1)
    own_answers = (drawn - means[..., None]).var(axis=0).sum() / freedom
    between = ((found - found.mean(axis=1, keepdims=True)) ** 2).sum() / freedom
    # At least what one answer more or less makes, or recalls of 0 everywhere would be known for certain.
    rest = max(between - own_answers, 0.0) / seeds
    return MeasuredPoints(found, queries + max(rest, (50.0 / images) ** 2) * np.eye(sizes), freedom)
