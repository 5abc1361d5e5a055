"""Several data sets joined to one without copying, with consecutive image and caption indices."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tangka_match.data.features import Features
from tangka_match.data.split import Split
from tangka_match.errors import DataFormatError


@dataclass(frozen=True, eq=False)
class JoinedFeatures:
    """Region features of several sets as one set; each remains in its file.

    Args:
        parts: Features of the sets, all with the same R and F; their images are numbered consecutively.

    >>> import tempfile
    >>> from tangka_match.data.features import RegionFeatures
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "a.npy", np.full((2, 1, 3), 7, np.float16))
    >>> np.save(folder / "b.npy", np.full((1, 1, 3), 8, np.float32))
    >>> joined = JoinedFeatures(tuple(RegionFeatures.open(folder / name) for name in ("a.npy", "b.npy")))
    >>> joined.num_images, joined.read(np.array([2, 0]))[:, 0, 0], joined.origin(2)[1]
    (3, array([8., 7.], dtype=float32), 0)
    """

    parts: tuple[Features, ...]

    @property
    def path(self) -> Path:
        """File of the first part."""
        return self.parts[0].path

    @property
    def num_images(self) -> int:
        """Number of images over all parts, N."""
        return int(self._starts[-1])

    @property
    def num_regions(self) -> int:
        """Regions per image including padding, R."""
        return self.parts[0].num_regions

    @property
    def feature_dim(self) -> int:
        """Dimensions per region, F."""
        return self.parts[0].feature_dim

    @property
    def dtype(self) -> np.dtype[Any]:
        """float16 if all parts are, otherwise float32."""
        return np.result_type(*(part.dtype for part in self.parts))

    def read(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.floating[Any]]:
        """Read images into memory.

        Args:
            rows: Image indices in [0, N), (B,).

        Returns:
            Features (B, R, F) in ``dtype``.
        """
        found = np.empty((len(rows), self.num_regions, self.feature_dim), self.dtype)
        owners = self._owners(rows)
        for owner in np.unique(owners):
            here = owners == owner
            found[here] = self.parts[owner].read(rows[here] - self._starts[owner])
        return found

    def origin(self, image: int) -> tuple[Path, int]:
        """Return the file of an image, and its row in that file."""
        owner = int(self._owners(np.array([image]))[0])
        return self.parts[owner].origin(image - int(self._starts[owner]))

    def select(self, images: npt.NDArray[np.int64]) -> Features:
        """Return a set of only these images, ascending indices in [0, N); parts without images are dropped."""
        owners = self._owners(images)
        parts = tuple(
            self.parts[owner].select(images[owners == owner] - self._starts[owner]) for owner in np.unique(owners)
        )
        return parts[0] if len(parts) == 1 else JoinedFeatures(parts)

    def fingerprint(self) -> str:
        """Hash the fingerprints of the parts; 16 hex digits."""
        return _hash(part.fingerprint() for part in self.parts)

    def release(self) -> None:
        """Give the memory of pages read so far back to the system."""
        for part in self.parts:
            part.release()

    def _owners(self, images: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
        return np.searchsorted(self._starts, images, side="right") - 1

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        """First image of each part, and the number of images."""
        return np.cumsum([0, *(part.num_images for part in self.parts)])


def join_splits(splits: Sequence[Split]) -> Split:
    """Join several splits; images and captions of the first keep their indices.

    Args:
        splits: Splits with the same regions and dimensions (``check_same_shape``). A single split is returned as is.

    Returns:
        Joined split without boxes, with the name and caption file of the first.
    """
    if len(splits) == 1:
        return splits[0]
    starts = np.cumsum([0, *(split.num_images for split in splits)])
    return Split(
        name=splits[0].name,
        features=JoinedFeatures(tuple(split.features for split in splits)),
        captions=tuple(caption for split in splits for caption in split.captions),
        caption_to_image=np.concatenate(
            [split.caption_to_image + start for split, start in zip(splits, starts, strict=False)]
        ),
        image_ids=tuple(image_id for split in splits for image_id in split.image_ids),
        boxes=None,
        captions_path=splits[0].captions_path,
        fingerprint=_hash(split.fingerprint for split in splits),
    )


def _hash(fingerprints: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(fingerprints).encode()).hexdigest()[:16]


def check_same_shape(first: Split, other: Split) -> None:
    """Check that one model can read both splits.

    Raises:
        DataFormatError: If the numbers of regions or dimensions differ.
    """
    shapes = [(s.features.num_regions, s.features.feature_dim) for s in (first, other)]
    if shapes[0] != shapes[1]:
        raise DataFormatError(
            f"{first.features.path} has (regions, dimensions) {shapes[0]}, {other.features.path} has {shapes[1]}. "
            "They must be equal: extract both with the same settings, or pad regions with zeros at the end."
        )
