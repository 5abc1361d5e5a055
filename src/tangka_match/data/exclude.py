"""Training pairs that a person struck out: the file of ``data.exclude``, and a split without these pairs."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tangka_match.data.captions import read_lines
from tangka_match.data.split import Split, select_images
from tangka_match.errors import ConfigError, DataFormatError

_FORM = "<image id>, or <image id>, a tab and the number of one of its captions"


class Excluded(NamedTuple):
    """Line of the file of ``data.exclude``.

    Attributes:
        image: Image id.
        caption: Number of the caption among those of its image, from 1; ``None`` for all of them.
    """

    image: str
    caption: int | None


def read_excluded(path: str | Path, split: Split) -> set[Excluded]:
    """Read the pairs to exclude, and check that each of them exists.

    Args:
        path: UTF-8 text, one entry per line: an image id, or an image id, a tab and the number of one of its captions,
            from 1. Without an id file, the id of an image is its index in train; those of val are ``val:<index>``.
        split: Pool of train and val, from ``pool_splits``.

    Raises:
        ConfigError: If the file does not exist.
        DataFormatError: If a line has another form, or names an image or a caption that the split does not have.
    """
    if not Path(path).is_file():
        raise ConfigError(f"data.exclude={path}: no such file; give a text file with one {_FORM} per line")
    counts = np.bincount(split.caption_to_image, minlength=split.num_images).tolist()
    captions = dict(zip(split.image_ids, counts, strict=True))
    prefix = f"{split.name}:"  # of the ids of train, if val has the same ones
    return {_parse(text, f"{path}: line {line}", captions, prefix) for line, text in enumerate(read_lines(path), 1)}


def _parse(text: str, where: str, captions: dict[str, int], prefix: str) -> Excluded:
    image, tab, number = text.partition("\t")
    image = image.strip()
    if image not in captions and f"{prefix}{image}" in captions:
        image = f"{prefix}{image}"
    if image not in captions:
        first, last = next(iter(captions)), next(reversed(captions))
        raise DataFormatError(
            f"{where} names the image {image!r}, which the training data do not have; allowed: the {len(captions):,} "
            f"image ids {first!r} … {last!r}. Correct the line or remove it."
        )
    if not tab:
        return Excluded(image, None)
    number = number.strip()
    if not (number.isascii() and number.isdecimal() and 1 <= int(number) <= captions[image]):
        raise DataFormatError(
            f"{where} names caption {number!r} of the image {image!r}; allowed: 1 … {captions[image]}, or the image id "
            "alone for all its captions. Correct the line or remove it."
        )
    return Excluded(image, int(number))


def exclude_pairs(split: Split, excluded: set[Excluded]) -> Split:
    """Return the split without these pairs, and without the images that have no caption left.

    Args:
        split: Split of N images and C captions.
        excluded: Pairs to remove, from ``read_excluded``; those of other splits are ignored.

    Raises:
        ConfigError: If no pair is left.
    """
    owners = split.caption_to_image
    starts = np.searchsorted(owners, np.arange(split.num_images))  # the captions of an image are consecutive
    kept = np.array(
        [
            not excluded & {Excluded(name, None), Excluded(name, caption - int(starts[image]) + 1)}
            for caption, image in enumerate(owners.tolist())
            for name in [split.image_ids[image]]
        ]
    )
    if kept.all():
        return split
    if not kept.any():
        raise ConfigError(f"data.exclude: all {split.num_captions:,} training pairs are excluded; shorten the file")
    captions = tuple(text for text, keep in zip(split.captions, kept, strict=True) if keep)
    remaining = np.unique(owners[kept])
    reduced = replace(split, captions=captions, caption_to_image=owners[kept])
    return select_images(reduced, remaining)
