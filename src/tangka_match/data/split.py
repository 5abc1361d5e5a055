"""A split, opened and checked, or a random share of its images."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tangka_match.data.captions import read_lines
from tangka_match.data.features import Features, RegionFeatures
from tangka_match.data.layout import find_split
from tangka_match.data.pairing import pair
from tangka_match.data.regions import check_sample, read_boxes
from tangka_match.errors import ConfigError, DataFormatError


@dataclass(frozen=True, eq=False)
class Split:
    """Images and captions of one split.

    Args:
        name: ``train``, ``val``, ``test``, or the stem of other files.
        features: Region features of N images, left on disk.
        captions: C captions as written, stripped.
        caption_to_image: (C,) int64, image index of each caption.
        image_ids: N ids; the image's number as text where the set has no ids.
        boxes: (N, R, 4) float32, left, top, right, bottom in [0, 1], or ``None``.
        captions_path: File of the captions, for messages.
        fingerprint: 16 hex digits over all of it but the boxes; the same for every copy of the data.
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
        """N."""
        return self.features.num_images

    @property
    def num_captions(self) -> int:
        """C."""
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
    """Open a split in the precomp layout and check what can be checked without reading it whole.

    Args:
        root: Folder of the data set.
        split: ``train``, ``val``, ``test``, or the stem of any other files.
        expected_images: Number of images it must have; any number where ``None``.
        expected_captions: Number of captions it must have; any number where ``None``.
        check_features: Look for damage in a sample of the features; ``False`` opens damaged ones too.
        setting: That gives the folder, for messages.

    Raises:
        DataFormatError: If a file is missing or damaged, if files do not fit each other, or if a count is not as
            expected. The message names the file and what to do.
    """
    files = find_split(root, split, setting)
    features = RegionFeatures.open(files.features)
    captions = read_lines(files.captions)
    ids = None if files.ids is None else read_lines(files.ids)
    pairing = pair(features, len(captions), ids, files.ids)
    boxes = None
    if files.boxes is not None:
        boxes = read_boxes(files.boxes, features.num_rows, features.num_regions)
    if pairing.row_map is not None:
        features = features.at_rows(pairing.row_map)
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
            f"{path}: split {split!r} has {found:,} {what}, but this data config expects {expected:,}. "
            "Write the set again with the script and the size that the config names, or choose data=precomp, "
            "which expects no fixed counts."
        )


def fingerprint(
    features: RegionFeatures,
    captions: Sequence[str],
    caption_to_image: npt.NDArray[np.int64],
    image_ids: Sequence[str],
) -> str:
    """16 hex digits over the parts of a split, as `Split` says."""
    digest = hashlib.sha256(features.fingerprint().encode())
    digest.update("\n".join((*captions, "", *image_ids)).encode())
    digest.update(caption_to_image.astype("<i8").tobytes())
    return digest.hexdigest()[:16]


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
