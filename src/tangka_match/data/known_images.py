"""Images that come back in another set, found by their features."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import rich
from rich.progress import track

from tangka_match.data.features import RegionFeatures

_ROWS_AT_ONCE = 256
_LONG = 8
"""Blocks from which reading may take seconds."""


class KnownImages:
    """Images met so far; tells which images of another set are among them.

    Two images are the same when their features are equal in float16. The first region of every image is looked at, and
    the whole of those alone whose first region was met before, so that a large set costs a small part of its reading.
    """

    def __init__(self) -> None:
        self._met: list[tuple[RegionFeatures, list[bytes]]] = []

    def add(self, features: RegionFeatures) -> None:
        """Meet the images of a set, in any order of sets."""
        self._met.append((features, _of_first_regions(features)))

    def among(self, features: RegionFeatures) -> npt.NDArray[np.bool_]:
        """Which images of a set, (N,), are known; those of another shape are not."""
        firsts = _of_first_regions(features)
        met = {digest for _, digests in self._met for digest in digests}
        suspects = np.array([image for image, digest in enumerate(firsts) if digest in met], dtype=np.int64)
        wanted = {firsts[image] for image in suspects}
        known: set[bytes] = set()
        for other, digests in self._met:
            rows = np.array([image for image, digest in enumerate(digests) if digest in wanted], dtype=np.int64)
            known.update(_of_whole_images(other, rows))
        found = np.zeros(features.num_images, dtype=np.bool_)
        found[suspects] = [digest in known for digest in _of_whole_images(features, suspects)]
        return found


def _of_first_regions(features: RegionFeatures) -> list[bytes]:
    """A digest of the first region of every image."""
    blocks = (features.first_regions(start, stop) for start, stop in _blocks(features.num_rows))
    rows = [_digest(row) for block in blocks for row in block]
    return rows if features.row_map is None else [rows[row] for row in features.row_map.tolist()]


def _of_whole_images(features: RegionFeatures, images: npt.NDArray[np.int64]) -> list[bytes]:
    """A digest of each of these images."""
    blocks = (features.read(images[start:stop]) for start, stop in _blocks(len(images)))
    return [_digest(image) for block in blocks for image in block]


def _blocks(count: int) -> Iterable[tuple[int, int]]:
    """Where to begin and end reading so many rows, with a progress bar where they are many."""
    starts = range(0, count, _ROWS_AT_ONCE)
    disabled = len(starts) < _LONG or not rich.get_console().is_terminal
    shown = track(starts, "comparing the images of data.mix", transient=True, disable=disabled)
    return ((start, start + _ROWS_AT_ONCE) for start in shown)


def _digest(values: npt.NDArray[np.floating]) -> bytes:
    with np.errstate(over="ignore"):  # a set may be float32 where another is float16
        return blake2b(values.astype(np.float16).tobytes(), digest_size=16).digest()
