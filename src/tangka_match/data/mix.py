"""Further data sets beside the main one: settings, opening, and pairs per epoch from each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import rich
from rich.progress import track

from tangka_match.data.features import RegionFeatures
from tangka_match.data.joined import check_same_shape
from tangka_match.data.layout import available_splits, find_split
from tangka_match.data.split import Split, keep_images, load_split
from tangka_match.errors import ConfigError


@dataclass(frozen=True)
class PairSet:
    """The pairs of one set among those of all.

    Args:
        first: Number of its first pair; the others follow.
        count: Its pairs.
        drawn: Pairs of it in an epoch.
    """

    first: int
    count: int
    drawn: int


def lay_out(num_pairs: int, further_sets: Sequence[tuple[int, float]]) -> tuple[PairSet, ...]:
    """Number the pairs of all sets, and say how many an epoch takes of each.

    Args:
        num_pairs: Pairs of a run's own set: an epoch takes each of them once.
        further_sets: Pairs of each further set, and its share of the epoch; the shares add up to less than 1.

    >>> lay_out(6, [(100, 0.5), (2, 0.25)])  # an epoch of 24: 6 are a quarter
    (PairSet(first=0, count=6, drawn=6), PairSet(first=6, count=100, drawn=12), PairSet(first=106, count=2, drawn=6))
    """
    own_share = 1.0 - sum(share for _, share in further_sets)
    sets = [PairSet(0, num_pairs, num_pairs)]
    for count, share in further_sets:
        drawn = max(1, round(num_pairs * share / own_share))
        sets.append(PairSet(sets[-1].first + sets[-1].count, count, drawn))
    return tuple(sets)


def spread(drawn: Sequence[int]) -> npt.NDArray[np.int64]:
    """The set of each place of an epoch, such that every stretch of it has nearly the same share of each set.

    The j-th of the n pairs of a set stands at the share (j + 1/2) / n of the way. Beside one further set, a stretch of
    B places has B · share of its pairs, at most one more or less; beside k of them at most 1 + (k - 1) · share.

    Args:
        drawn: Pairs of each set in the epoch.

    >>> spread([3, 6]).tolist()
    [1, 0, 1, 1, 0, 1, 1, 0, 1]
    """
    along = np.concatenate([(np.arange(n) + 0.5) / n for n in drawn])
    return np.repeat(np.arange(len(drawn)), drawn)[np.argsort(along, kind="stable")]


def most_together(places: npt.NDArray[np.int64], batch_size: int) -> list[int]:
    """The most pairs of each set that come into one batch.

    Args:
        places: The set of each place of an epoch, as ``spread`` gives them.
        batch_size: Places a batch.

    >>> most_together(np.array([0, 1, 1, 1, 0, 1]), batch_size=3)
    [1, 2]
    """
    batch = np.arange(len(places)) // batch_size
    return [int(np.bincount(batch[places == number]).max()) for number in np.unique(places)]


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


_SPLIT = "train"
"""Of a further set, the split to train on."""


class FurtherSet(NamedTuple):
    """A set that gives its training pairs to a run on another one.

    Attributes:
        root: Folder of the set, in the precomp layout.
        share: Of the pairs of every batch, in (0, 1).
    """

    root: str
    share: float


class OpenedSet(NamedTuple):
    """A further set, opened.

    Attributes:
        split: Its training pairs, without the images that were known already.
        share: Of the pairs of every batch.
        left_out: Images that were known.
    """

    split: Split
    share: float
    left_out: int

    def __str__(self) -> str:
        again = f" ({self.left_out:,} more images are known already, and left out)" if self.left_out else ""
        return (
            f"{100 * self.share:g} % of each batch from {self.split.num_captions:,} captions of "
            f"{self.split.num_images:,} images in {self.split.captions_path.parent}{again}"
        )


def read_mix(mix: Sequence[Mapping[str, str | float | int]]) -> tuple[FurtherSet, ...]:
    """Check what users set, before any data is opened.

    Args:
        mix: ``{root: <folder>, share: <share>}`` of each set.

    Raises:
        ConfigError: If a set is described otherwise, or the shares leave nothing to the run's own set.

    >>> read_mix([{"root": "data/flickr", "share": 0.5}])
    (FurtherSet(root='data/flickr', share=0.5),)
    """
    sets = []
    for number, given in enumerate(mix):
        root, share = given.get("root"), given.get("share")
        if set(given) != {"root", "share"} or not isinstance(root, str) or isinstance(share, str | bool | None):
            raise ConfigError(
                f"data.mix[{number}]={dict(given)}; allowed: {{root: <folder>, share: <of the pairs of a batch>}}."
            )
        if not 0 < share < 1:
            raise ConfigError(f"data.mix[{number}].share={share}; allowed: more than 0, under 1.")
        sets.append(FurtherSet(root, float(share)))
    total = sum(further.share for further in sets)
    if total > 1 - 1e-9:
        raise ConfigError(
            f"data.mix: the shares {[further.share for further in sets]} add up to {total:g}, which leaves nothing to "
            "data.root, the set that is validated on; allowed: under 1."
        )
    return tuple(sets)


def open_further_sets(sets: Sequence[FurtherSet], root: str, own: Split, val: Split) -> list[OpenedSet]:
    """Open the sets, each without the images that the run's own set, in whatever split, or a set before it holds.

    An image that is validated on would make validation worthless; one that is in two sets would be a negative of
    itself.

    Args:
        sets: As ``read_mix`` gives them.
        root: Folder of the run's own set.
        own: Its training split, whole.
        val: The split to validate on.

    Raises:
        DataFormatError: If a set is missing or damaged, or its regions or dimensions are not those of ``own``.
        ConfigError: If all images of a set are known.
    """
    if not sets:
        return []
    known = KnownImages()
    for split in (own, val):
        known.add(_in_file(split))
    for name in sorted({*available_splits(root)} - {own.name, val.name}):
        known.add(RegionFeatures.open(find_split(root, name).features))
    opened = []
    for number, further in enumerate(sets):
        split = load_split(further.root, _SPLIT, setting=f"data.mix[{number}].root")
        check_same_shape(own, split)
        again = known.among(_in_file(split))
        if again.all():
            raise ConfigError(
                f"data.mix[{number}].root={further.root}: all of its {split.num_images:,} training images are in "
                f"{root} or in a set named before it as well: leave it out of data.mix."
            )
        known.add(_in_file(split))
        kept = keep_images(split, np.flatnonzero(~again)) if again.any() else split
        opened.append(OpenedSet(kept, further.share, int(again.sum())))
    return opened


def _in_file(split: Split) -> RegionFeatures:
    assert isinstance(split.features, RegionFeatures), "sets are compared before they are joined"
    return split.features
