"""Pairs of a split that are as good as right: the same caption text, or nearly the same picture."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tangka_match.data.captions import group_texts
from tangka_match.data.region_mask import read_regions
from tangka_match.data.split import Split
from tangka_match.errors import ConfigError

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
