"""Splits of a data set: from the caption file, from lists of ids, or drawn by image."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tangka_match.data.captions import read_lines
from tangka_match.data.importers.caption_text import CaptionedImage, known_split
from tangka_match.data.importers.join import WAYS
from tangka_match.errors import ConfigError, DataFormatError

NAMES = ("train", "val", "test")
MIN_IMAGES = 2
"""Fewest images of a split: with a single one, every answer is correct."""
ROUNDING = 1e-6


def from_captions(images: Sequence[CaptionedImage]) -> list[str | None]:
    """Return the split of each image that the caption file gives.

    Raises:
        ConfigError: If the file gives none.
    """
    splits = [image.split for image in images]
    if not any(splits):
        raise ConfigError(
            "splits: the captions do not say which images are for training; draw the splits with "
            "splits='[0.8,0.1,0.1]', or list their image ids: splits='{train: train.txt, val: val.txt, test: test.txt}'"
        )
    return splits


def from_id_lists(lists: Mapping[str, Path], images: Sequence[CaptionedImage]) -> list[str | None]:
    """Return the split of each image by lists of ids; images on no list get ``None``.

    Args:
        lists: Text file with one image id per line, for each split.
        images: Images of the caption files.

    Raises:
        DataFormatError: If a list names images that the captions do not have, or an image is on two lists.
    """
    ids = {known_split(name, "splits"): read_lines(path) for name, path in lists.items()}
    everything = [name for names in ids.values() for name in names]
    best: dict[str, int] = {}
    for key in WAYS.values():
        for place in range(max(len(image.names) for image in images)):
            keys = {key(image.names[place]): at for at, image in enumerate(images) if place < len(image.names)}
            found = {name: keys[key(name)] for name in everything if key(name) is not None and key(name) in keys}
            if len(found) > len(best):
                best = found
    missing = [name for name in everything if name not in best]
    if missing:
        raise DataFormatError(
            f"splits: {len(missing):,} of {len(everything):,} listed images have no captions, such as {missing[0]!r}; "
            f"the captions name images such as {images[0].names[0]!r}. Remove them from the lists, or correct the ids"
        )
    splits: list[str | None] = [None] * len(images)
    for split, names in ids.items():
        for name in names:
            at = best[name]
            if splits[at] not in (None, split):
                raise DataFormatError(f"splits: image {name!r} is listed for {splits[at]} and for {split}")
            splits[at] = split
    return splits


def wanted_sizes(numbers: Sequence[float], total: int) -> list[int]:
    """Return the number of images of train, val and test.

    Args:
        numbers: Shares that sum to 1, or numbers of images; two (train, val) or three.
        total: Number of images.

    Raises:
        ConfigError: If the numbers are neither, or a split would have fewer than two images.

    >>> wanted_sizes([0.8, 0.1, 0.1], 30), wanted_sizes([2910, 363], 4000)
    ([24, 3, 3], [2910, 363])
    """
    text = f"splits={list(numbers)}"
    if len(numbers) not in (2, 3) or min(numbers) <= 0:
        raise ConfigError(f"{text}: give two or three numbers above 0, for train, val and test")
    if abs(sum(numbers) - 1) < ROUNDING:
        held = [max(MIN_IMAGES, round(share * total)) for share in numbers[1:]]
        sizes = [total - sum(held), *held]
    elif all(float(number).is_integer() for number in numbers):
        sizes = [int(number) for number in numbers]
    else:
        raise ConfigError(f"{text}: shares must sum to 1 (found {sum(numbers):g}), and numbers of images must be whole")
    if sum(sizes) > total or min(sizes) < MIN_IMAGES:
        raise ConfigError(
            f"{text}: gives {sizes} images of {total:,}; every split needs at least {MIN_IMAGES}, and together at most "
            f"{total:,}"
        )
    return sizes


def draw(groups: npt.NDArray[np.int64], sizes: Sequence[int], seed: int) -> list[str | None]:
    """Draw splits of whole groups, at random.

    The largest groups come first, each to a split that it fits into, with a probability in proportion to the images
    that the split still lacks; so every split gets its part of the near-duplicates, and single images make the sizes
    exact. A group that fits nowhere goes to train.

    Args:
        groups: Group of each image, (N,), such as near-duplicates.
        sizes: Images of train, val and, if there are three, test; what exceeds their sum gets ``None``.
        seed: Seed of the draw.

    Raises:
        ConfigError: If groups are so large that a split stays almost empty.

    >>> drawn = draw(np.array([0, 1, 1, 3, 4, 5]), [2, 2, 2], seed=0)
    >>> sorted(drawn), drawn[1] == drawn[2]
    (['test', 'test', 'train', 'train', 'val', 'val'], True)
    """
    random = np.random.default_rng(seed)
    members: dict[int, list[int]] = defaultdict(list)
    for image, group in enumerate(groups.tolist()):
        members[group].append(image)
    listed = list(members.values())
    together = [listed[number] for number in random.permutation(len(listed))]
    names: list[str | None] = [*NAMES[: len(sizes)], None]
    left = np.array([*sizes, len(groups) - sum(sizes)])
    chosen: list[str | None] = [None] * len(groups)
    for images in sorted(together, key=len, reverse=True):
        weights = np.where(left >= len(images), left, 0).clip(min=0)
        to = int(random.choice(len(names), p=weights / weights.sum())) if weights.any() else 0
        left[to] -= len(images)
        for image in images:
            chosen[image] = names[to]
    for name, size in zip(NAMES, sizes, strict=False):
        if chosen.count(name) < MIN_IMAGES:
            raise ConfigError(
                f"splits: {chosen.count(name)} of {size} images can be drawn for {name}, because near-duplicates stay "
                f"together (the largest group has {max(map(len, together)):,} images); ask for larger splits"
            )
    return chosen
