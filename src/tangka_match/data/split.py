"""A split, opened and checked: features, captions, and which belongs to which."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tangka_match.data.boxes import read_boxes
from tangka_match.data.captions import read_lines
from tangka_match.data.features import Features, RegionFeatures
from tangka_match.data.layout import find_split
from tangka_match.data.pairing import pair
from tangka_match.data.region_mask import check_sample
from tangka_match.errors import DataFormatError


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
