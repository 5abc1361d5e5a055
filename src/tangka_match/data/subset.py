"""A random share of a split's images, so that training can be asked what more pairs would bring."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tangka_match.data.features import RegionFeatures
from tangka_match.data.split import Split, fingerprint
from tangka_match.errors import ConfigError


def check_share(share: float) -> None:
    """Make sure that a share of the training images is one.

    Raises:
        ConfigError: If it is not in (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"data.train_share={share}; allowed: above 0, and up to 1 for all training images.")


def take_share(split: Split, share: float, seed: int) -> Split:
    """Keep a share of the images, with all their captions, in their order.

    Shares of one seed are nested: what 25 % holds is in 50 % too, so that a learning curve adds pairs and exchanges
    none. Another seed draws others.

    Args:
        split: Of N images.
        share: In (0, 1]; round(share · N) images are kept, at least 1. 1 returns the split itself.
        seed: Of the draw.

    Raises:
        ConfigError: If the share is out of range.
    """
    check_share(share)
    if share == 1.0:
        return split
    order = np.random.default_rng(seed).permutation(split.num_images)
    return keep_images(split, np.sort(order[: max(1, round(share * split.num_images))]))


def keep_images(split: Split, kept: npt.NDArray[np.int64]) -> Split:
    """The images of one set at these ascending rows, with their captions; features stay on disk."""
    assert isinstance(split.features, RegionFeatures), "images are chosen before sets are joined"
    new_row = np.full(split.num_images, -1, dtype=np.int64)
    new_row[kept] = np.arange(len(kept))
    caption_to_image = new_row[split.caption_to_image]
    captions = tuple(text for text, image in zip(split.captions, caption_to_image, strict=True) if image >= 0)
    caption_to_image = caption_to_image[caption_to_image >= 0]
    features = split.features.of_images(kept)
    image_ids = tuple(split.image_ids[image] for image in kept)
    return replace(
        split,
        features=features,
        captions=captions,
        caption_to_image=caption_to_image,
        image_ids=image_ids,
        boxes=None if split.boxes is None else split.boxes[kept],
        fingerprint=fingerprint(features, captions, caption_to_image, image_ids),
    )
