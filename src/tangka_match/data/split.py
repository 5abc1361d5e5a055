"""Data splits: opening and checking one, and selecting a subset of its images."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tangka_match.data.caption_checks import check_captions
from tangka_match.data.captions import read_lines
from tangka_match.data.checks import check_train_share
from tangka_match.data.features import Features, RegionFeatures
from tangka_match.data.layout import find_split
from tangka_match.data.pairing import pair
from tangka_match.data.regions import check_sample, read_boxes
from tangka_match.errors import DataFormatError


@dataclass(frozen=True, eq=False)
class Split:
    """Images and captions of one split.

    Args:
        name: ``train``, ``val``, ``test``, or the stem of other files.
        features: Region features of N images, memory-mapped.
        captions: C captions as written, stripped.
        caption_to_image: Image index of each caption, (C,) int64.
        image_ids: Ids of N images; the image index as text if the set has no ids.
        boxes: Region boxes (left, top, right, bottom) in [0, 1], (N, R, 4) float32, or ``None``.
        captions_path: Caption file, for messages.
        fingerprint: Hash of everything except the boxes, 16 hex digits; equal for every copy of the data.
    """

    name: str
    features: Features
    captions: tuple[str, ...]
    caption_to_image: npt.NDArray[np.int64]
    image_ids: tuple[str, ...]
    boxes: npt.NDArray[np.float32] | None
    captions_path: Path
    fingerprint: str

    @property
    def num_images(self) -> int:
        """Number of images, N."""
        return self.features.num_images

    @property
    def num_captions(self) -> int:
        """Number of captions, C."""
        return len(self.captions)


def load_split(
    root: str | Path,
    split: str,
    expected_images: int | None = None,
    expected_captions: int | None = None,
    *,
    check_features: bool = True,
    setting: str = "data.root",
) -> Split:
    """Open a split in the precomp layout and check it as far as possible without reading all of it.

    Args:
        root: Folder of the data set.
        split: ``train``, ``val``, ``test``, or the stem of any other files.
        expected_images: Required number of images; ``None`` accepts any number.
        expected_captions: Required number of captions; ``None`` accepts any number.
        check_features: Whether to check a sample of the features; ``False`` also opens damaged ones.
        setting: Name of the setting that gives the folder, for messages.

    Raises:
        DataFormatError: If a file is missing or damaged, files are inconsistent, or a count is not as expected.
    """
    files = find_split(root, split, setting)
    features = RegionFeatures.open(files.features)
    captions = read_lines(files.captions)
    check_captions(captions, files.captions)
    ids = None if files.ids is None else read_lines(files.ids)
    pairing = pair(features, len(captions), ids, files.ids)
    boxes = None
    if files.boxes is not None:
        boxes = read_boxes(files.boxes, features.num_rows, features.num_regions)
    if pairing.row_map is not None:
        features = features.with_row_map(pairing.row_map)
        boxes = None if boxes is None else boxes[pairing.row_map]
    _check_count(split, files.features, "images", features.num_images, expected_images)
    _check_count(split, files.captions, "captions", len(captions), expected_captions)
    if check_features:
        check_sample(features, pairing.image_ids)
    return Split(
        name=split,
        features=features,
        captions=tuple(captions),
        caption_to_image=pairing.caption_to_image,
        image_ids=pairing.image_ids,
        boxes=boxes,
        captions_path=files.captions,
        fingerprint=fingerprint(features, captions, pairing.caption_to_image, pairing.image_ids),
    )


def _check_count(split: str, path: Path, what: str, found: int, expected: int | None) -> None:
    if expected is not None and found != expected:
        raise DataFormatError(
            f"{path}: split {split!r} has {found:,} {what}, but data.expected_counts expects {expected:,}. "
            "Write the set again with the script and size named in the data config, or use data=precomp, which "
            "accepts any counts."
        )


def fingerprint(
    features: Features,
    captions: Sequence[str],
    caption_to_image: npt.NDArray[np.int64],
    image_ids: Sequence[str],
) -> str:
    """Hash features, captions, pairs and ids of a split; returns 16 hex digits."""
    digest = hashlib.sha256(features.fingerprint().encode())
    digest.update("\n".join((*captions, "", *image_ids)).encode())
    digest.update(caption_to_image.astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def subsample_images(split: Split, share: float, seed: int) -> Split:
    """Keep a random share of the images, with all their captions, in their original order.

    Subsets of the same seed are nested: the 25 % subset is part of the 50 % subset, so that the points of a learning
    curve only add pairs.

    Args:
        split: Split of N images.
        share: Share of the images in (0, 1]; round(share * N) images are kept, at least 1. 1 returns ``split``.
        seed: Seed of the random choice.

    Raises:
        ConfigError: If the share is out of range.
    """
    check_train_share(share)
    if share == 1.0:
        return split
    order = np.random.default_rng(seed).permutation(split.num_images)
    return select_images(split, np.sort(order[: max(1, round(share * split.num_images))]))


def select_images(split: Split, images: npt.NDArray[np.int64]) -> Split:
    """Return the split with only these images and their captions; no features are copied.

    Args:
        split: Split of N images.
        images: Image indices in [0, N), ascending.
    """
    new_index = np.full(split.num_images, -1, dtype=np.int64)
    new_index[images] = np.arange(len(images))
    caption_to_image = new_index[split.caption_to_image]
    captions = tuple(text for text, image in zip(split.captions, caption_to_image, strict=True) if image >= 0)
    caption_to_image = caption_to_image[caption_to_image >= 0]
    features = split.features.select(images)
    image_ids = tuple(split.image_ids[image] for image in images)
    return replace(
        split,
        features=features,
        captions=captions,
        caption_to_image=caption_to_image,
        image_ids=image_ids,
        boxes=None if split.boxes is None else split.boxes[images],
        fingerprint=fingerprint(features, captions, caption_to_image, image_ids),
    )
