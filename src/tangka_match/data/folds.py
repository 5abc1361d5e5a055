"""Cross-validation by image: train and validation images pooled and divided into folds.

One fold is held out: it is scored once, after training. Of the other folds, a small part is set aside for validation
during training, which selects the epoch (and, in a study, the settings); the rest is trained on. The held-out fold
therefore selects nothing.

Near-duplicates stay together in all three parts: images with nearly the same features (``near_images``), or with a
caption of the same text. The division depends on the data and the number of folds only, not on the seed of the run, so
that runs with other settings or seeds hold out the same images.
"""

import contextlib
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tangka_match.data.captions import group_texts
from tangka_match.data.checks import check_rules
from tangka_match.data.exclude import exclude_pairs, read_excluded
from tangka_match.data.feature_scan import scan_features
from tangka_match.data.joined import join_splits
from tangka_match.data.near_images import connected, near_images
from tangka_match.data.npy import save_npy
from tangka_match.data.split import Split, select_images
from tangka_match.errors import ConfigError, count

MIN_IMAGES = 2
"""Fewest images of a gallery: with a single one, every answer is correct."""

GROUPS_FILE = "near_duplicates_2_{fingerprint}.npy"
"""File in the folder of the data set that keeps its groups of near-duplicates, because finding them takes minutes for
3,000 images. The number in the name changes with the rule for near-duplicates."""


class Parts(NamedTuple):
    """Parts of a data set in a run.

    Attributes:
        train: Images to train on.
        val: Images to validate on during training.
        held_out: Images to score once, at the end; ``None`` without cross-validation.
    """

    train: Split
    val: Split
    held_out: Split | None


def check_folds(folds: int | None, fold: int | None, val_share: float) -> None:
    """Check the settings of cross-validation before any data is opened.

    Args:
        folds: Number of folds; ``None`` for no cross-validation.
        fold: Index of the held-out fold, from 0.
        val_share: Share of the images of the other folds to validate on.

    Raises:
        ConfigError: If a setting is out of range, or one of ``folds`` and ``fold`` lacks the other.
    """
    check_rules({f"data.fold_val_share={val_share} must be in (0, 0.5]": 0 < val_share <= 0.5})
    if folds is None:
        check_rules({f"data.fold={fold} needs data.folds=<number of folds, >= 2>": fold is None})
        return
    check_rules({f"data.folds={folds} must be >= 2, or null for no cross-validation": folds >= 2})
    check_rules(
        {
            f"data.fold={fold} must be in 0 … {folds - 1}, the fold to hold out; all folds: -m data.folds={folds} "
            f"'data.fold=range({folds})'": fold is not None and 0 <= fold < folds
        }
    )


def divide(
    train: Split, val: Split, *, folds: int | None, fold: int | None, val_share: float, exclude: str | None
) -> Parts:
    """Divide the training and validation splits as the settings say.

    Args:
        train: Training split.
        val: Validation split.
        folds: Number of folds; ``None`` keeps both splits.
        fold: Index of the held-out fold.
        val_share: Share of the images of the other folds to validate on.
        exclude: File of training pairs to exclude, or ``None``. Pairs of the other parts are kept, so that metrics
            stay comparable.

    Raises:
        ConfigError: If there are too few images, or ``exclude`` is missing or lists all training pairs.
        DataFormatError: If ``exclude`` names an image or a caption that does not exist.
    """
    parts, pool = Parts(train, val, None), pool_splits(train, val)
    if folds is not None:
        assert fold is not None, "see check_folds"
        parts = open_fold(pool, folds, fold, val_share)
    if exclude is None:
        return parts
    # The file names images as in a cross-validation, whether or not this run is one.
    excluded = read_excluded(exclude, pool)
    if folds is None:
        own_ids = dict(zip(pool.image_ids, train.image_ids, strict=False))  # the images of train come first
        excluded = {entry._replace(image=own_ids[entry.image]) for entry in excluded if entry.image in own_ids}
    return parts._replace(train=exclude_pairs(parts.train, excluded))


def pool_splits(train: Split, val: Split) -> Split:
    """Join the training and the validation split; their images are told apart by id.

    Args:
        train: Training split.
        val: Validation split. If both have an image of the same id, all ids get the name of their split in front,
            such as ``train:0``.
    """
    splits = [train, val]
    if not set(train.image_ids).isdisjoint(val.image_ids):
        splits = [replace(s, image_ids=tuple(f"{s.name}:{image_id}" for image_id in s.image_ids)) for s in splits]
    return join_splits(splits)


def open_fold(pool: Split, folds: int, fold: int, val_share: float) -> Parts:
    """Divide the pooled images.

    Args:
        pool: Pooled images, from ``pool_splits``.
        folds: Number of folds, >= 2.
        fold: Index of the held-out fold, in [0, folds).
        val_share: Share of the images of the other folds to validate on, in (0, 0.5].

    Raises:
        ConfigError: If there are too few images for that many folds, or for validation.
    """
    if pool.num_images < MIN_IMAGES * folds:
        raise ConfigError(
            f"data.folds={folds}: train and val have {count(pool.num_images, 'image')}, and each fold needs at least "
            f"{MIN_IMAGES}; set data.folds to at most {pool.num_images // MIN_IMAGES}."
        )
    groups = group_images(pool)
    fold_of = assign_folds(groups, pool.image_ids, folds)
    sizes = np.bincount(fold_of, minlength=folds)
    if sizes.min() < MIN_IMAGES:
        raise ConfigError(
            f"data.folds={folds}: the smallest fold would have {count(int(sizes.min()), 'image')}, because "
            f"near-duplicates stay together (the largest group has {np.bincount(groups).max():,} of "
            f"{pool.num_images:,} images); reduce data.folds."
        )
    others = np.flatnonzero(fold_of != fold)
    chosen = choose_validation(groups[others], [pool.image_ids[image] for image in others], val_share)
    if not MIN_IMAGES <= chosen.sum() < len(others):
        raise ConfigError(
            f"data.fold_val_share={val_share} gives {count(int(chosen.sum()), 'validation image')} of {len(others):,}; "
            f"at least {MIN_IMAGES} are needed, and one to train on. Change data.fold_val_share or data.folds."
        )
    parts = {"train": others[~chosen], "val": others[chosen], "held out": np.flatnonzero(fold_of == fold)}
    return Parts(*(replace(select_images(pool, images), name=name) for name, images in parts.items()))


def group_images(pool: Split) -> npt.NDArray[np.int64]:
    """Assign images to groups of near-duplicates, (N,): the smallest index in the group.

    Two images belong together if their features are near-duplicates or they have captions of the same text; groups are
    the connected components. They are kept in the folder of the data set (``GROUPS_FILE``) where it is writable.

    Args:
        pool: Split of N images.
    """
    file = pool.captions_path.parent / GROUPS_FILE.format(fingerprint=pool.fingerprint)
    with contextlib.suppress(OSError, ValueError):
        kept = np.load(file, allow_pickle=False)
        if kept.shape == (pool.num_images,) and kept.dtype == np.int64:
            return kept
    groups = find_groups(pool)
    partial = file.with_name(f".partial-{os.getpid()}-{file.name}")
    with contextlib.suppress(OSError):  # a folder without write permission, or a full disk: searched again next time
        save_npy(partial, groups)
        partial.replace(file)
    with contextlib.suppress(OSError):
        partial.unlink(missing_ok=True)
    return groups


def find_groups(pool: Split) -> npt.NDArray[np.int64]:
    """Find the groups of `group_images`, without keeping them."""
    scan = scan_features(pool)
    pairs = [(pair.query, pair.gallery) for pair in near_images(pool, scan, pool, scan, sample=False)]
    first_image: dict[int, int] = {}
    for text, image in zip(group_texts(pool.captions).tolist(), pool.caption_to_image.tolist(), strict=True):
        pairs.append((first_image.setdefault(text, image), image))
    return connected(pairs, pool.num_images)


def assign_folds(groups: npt.NDArray[np.int64], image_ids: Sequence[str], folds: int) -> npt.NDArray[np.int64]:
    """Assign each group to a fold, (N,): the largest groups first, each to the fold with the fewest images.

    Groups of equal size follow the hash of their image ids, which is the same on every machine.

    Args:
        groups: Group of each image, (N,).
        image_ids: Ids of the images.
        folds: Number of folds.

    >>> assign_folds(np.array([0, 1, 1, 3]), ["a", "b", "c", "d"], 2).tolist()
    [1, 0, 0, 1]
    """
    fold_of = np.zeros(len(groups), dtype=np.int64)
    sizes = np.zeros(folds, dtype=np.int64)
    for members in sorted(_hashed_groups(groups, image_ids, "fold"), key=len, reverse=True):
        fewest = int(sizes.argmin())
        fold_of[members] = fewest
        sizes[fewest] += len(members)
    return fold_of


def choose_validation(groups: npt.NDArray[np.int64], image_ids: Sequence[str], share: float) -> npt.NDArray[np.bool_]:
    """Choose whole groups for validation, (N,) ``True``, up to a share of the images.

    Args:
        groups: Group of each image, (N,).
        image_ids: Ids of the images.
        share: Share of the images, in (0, 1); at least ``MIN_IMAGES`` are aimed at.
    """
    chosen = np.zeros(len(groups), dtype=np.bool_)
    wanted = max(MIN_IMAGES, round(share * len(groups)))
    for members in _hashed_groups(groups, image_ids, "val"):
        if len(members) <= wanted:
            chosen[members] = True
            wanted -= len(members)
    return chosen


def _hashed_groups(groups: npt.NDArray[np.int64], image_ids: Sequence[str], salt: str) -> list[list[int]]:
    """Return the members of each group, in an order that looks random and depends on the image ids only."""
    members: dict[int, list[int]] = defaultdict(list)
    for image, group in enumerate(groups.tolist()):
        members[group].append(image)
    return sorted(
        members.values(), key=lambda group: min(blake2b(f"{salt}:{image_ids[i]}".encode()).digest() for i in group)
    )
