"""Training on several data sets: settings, removal of duplicate images, and the composition of an epoch."""

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
from tangka_match.data.split import Split, load_split, select_images
from tangka_match.errors import ConfigError

_TRAIN_SPLIT = "train"
_ROWS_PER_BLOCK = 256
_BLOCKS_FOR_PROGRESS_BAR = 8


class ExtraSet(NamedTuple):
    """An entry of ``data.mix``: a data set to train on in addition to the main one.

    Attributes:
        root: Folder of the set, in the precomp layout.
        share: Share of the pairs of every batch, in (0, 1).
    """

    root: str
    share: float


class OpenedSet(NamedTuple):
    """The training split of an extra set, without duplicates.

    Attributes:
        split: Training pairs, without the images of the sets before it.
        share: Share of the pairs of every batch.
        duplicates: Number of images that were removed as duplicates.
    """

    split: Split
    share: float
    duplicates: int

    def __str__(self) -> str:
        removed = f" ({self.duplicates:,} duplicate images removed)" if self.duplicates else ""
        return (
            f"{100 * self.share:g} % of each batch from {self.split.num_captions:,} captions of "
            f"{self.split.num_images:,} images in {self.split.captions_path.parent}{removed}"
        )


def parse_mix(mix: Sequence[Mapping[str, str | float | int]]) -> tuple[ExtraSet, ...]:
    """Check the setting ``data.mix`` before any data is opened.

    Args:
        mix: ``{root: <folder>, share: <share>}`` for each set.

    Raises:
        ConfigError: If an entry has another form, or the shares add up to 1 or more.

    >>> parse_mix([{"root": "data/flickr", "share": 0.5}])
    (ExtraSet(root='data/flickr', share=0.5),)
    """
    sets = []
    for number, given in enumerate(mix):
        root, share = given.get("root"), given.get("share")
        if set(given) != {"root", "share"} or not isinstance(root, str) or isinstance(share, str | bool | None):
            raise ConfigError(
                f"data.mix[{number}]={dict(given)} must be {{root: <folder>, share: <share of each batch>}}."
            )
        if not 0 < share < 1:
            raise ConfigError(f"data.mix[{number}].share={share} must be in (0, 1).")
        sets.append(ExtraSet(root, float(share)))
    total = sum(extra.share for extra in sets)
    if total > 1 - 1e-9:
        raise ConfigError(
            f"data.mix: the shares {[extra.share for extra in sets]} add up to {total:g}; their sum must be < 1, the "
            "rest of each batch comes from data.root. Reduce them."
        )
    return tuple(sets)


def open_extra_sets(sets: Sequence[ExtraSet], root: str, train: Split, val: Split) -> list[OpenedSet]:
    """Open the extra sets, each without the images of the main set (any split) and of the sets before it.

    An image of the validation split would invalidate the validation; an image in two sets would be a negative of
    itself.

    Args:
        sets: Extra sets, from ``parse_mix``.
        root: Folder of the main set.
        train: Training split of the main set, complete.
        val: Validation split of the main set.

    Raises:
        DataFormatError: If a set is missing or damaged, or its regions or dimensions differ from those of ``train``.
        ConfigError: If all images of a set are duplicates.
    """
    if not sets:
        return []
    finder = DuplicateFinder()
    for split in (train, val):
        finder.add(_features_of(split))
    for name in sorted({*available_splits(root)} - {train.name, val.name}):
        finder.add(RegionFeatures.open(find_split(root, name).features))
    opened = []
    for number, extra in enumerate(sets):
        split = load_split(extra.root, _TRAIN_SPLIT, setting=f"data.mix[{number}].root")
        check_same_shape(train, split)
        duplicate = finder.find(_features_of(split))
        if duplicate.all():
            raise ConfigError(
                f"data.mix[{number}].root={extra.root}: all {split.num_images:,} training images are duplicates of "
                f"images in {root} or in an earlier set of data.mix. Remove this set from data.mix."
            )
        finder.add(_features_of(split))
        kept = select_images(split, np.flatnonzero(~duplicate)) if duplicate.any() else split
        opened.append(OpenedSet(kept, extra.share, int(duplicate.sum())))
    return opened


def _features_of(split: Split) -> RegionFeatures:
    assert isinstance(split.features, RegionFeatures), "sets are compared before they are joined"
    return split.features


class DuplicateFinder:
    """Finds images of one set that are also in another set.

    Two images are duplicates if their features are equal in float16. The first regions of all images are compared, and
    complete images only where the first regions are equal, so that only a small part of a large set is read.
    """

    def __init__(self) -> None:
        self._added: list[tuple[RegionFeatures, list[bytes]]] = []

    def add(self, features: RegionFeatures) -> None:
        """Add the images of a set to those compared against."""
        self._added.append((features, _digest_first_regions(features)))

    def find(self, features: RegionFeatures) -> npt.NDArray[np.bool_]:
        """Return which images of a set, (N,), are duplicates of an added image; another shape is never a duplicate."""
        firsts = _digest_first_regions(features)
        added_firsts = {digest for _, digests in self._added for digest in digests}
        candidates = np.array([image for image, digest in enumerate(firsts) if digest in added_firsts], dtype=np.int64)
        wanted = {firsts[image] for image in candidates}
        added_images: set[bytes] = set()
        for other, digests in self._added:
            rows = np.array([image for image, digest in enumerate(digests) if digest in wanted], dtype=np.int64)
            added_images.update(_digest_images(other, rows))
        found = np.zeros(features.num_images, dtype=np.bool_)
        found[candidates] = [digest in added_images for digest in _digest_images(features, candidates)]
        return found


def _digest_first_regions(features: RegionFeatures) -> list[bytes]:
    blocks = (features.first_regions(start, stop) for start, stop in _blocks(features.num_rows))
    rows = [_digest(row) for block in blocks for row in block]
    return rows if features.row_map is None else [rows[row] for row in features.row_map.tolist()]


def _digest_images(features: RegionFeatures, images: npt.NDArray[np.int64]) -> list[bytes]:
    blocks = (features.read(images[start:stop]) for start, stop in _blocks(len(images)))
    return [_digest(image) for block in blocks for image in block]


def _blocks(count: int) -> Iterable[tuple[int, int]]:
    """Yield (start, stop) of blocks of rows, with a progress bar if there are many."""
    starts = range(0, count, _ROWS_PER_BLOCK)
    disabled = len(starts) < _BLOCKS_FOR_PROGRESS_BAR or not rich.get_console().is_terminal
    shown = track(starts, "searching data.mix for duplicate images", transient=True, disable=disabled)
    return ((start, start + _ROWS_PER_BLOCK) for start in shown)


def _digest(values: npt.NDArray[np.floating]) -> bytes:
    with np.errstate(over="ignore"):  # one set may be float32 and another float16
        return blake2b(values.astype(np.float16).tobytes(), digest_size=16).digest()


@dataclass(frozen=True)
class PairSet:
    """Pairs of one data set within the joined training set.

    Args:
        first: Index of its first pair; the others follow.
        count: Number of its pairs.
        drawn: Pairs drawn from it per epoch.
    """

    first: int
    count: int
    drawn: int


def plan_epoch(num_pairs: int, extra_sets: Sequence[tuple[int, float]]) -> tuple[PairSet, ...]:
    """Number the pairs of all sets and compute how many an epoch draws from each.

    Args:
        num_pairs: Pairs of the main set; an epoch draws each of them once.
        extra_sets: Number of pairs and share of the epoch of each extra set; the shares add up to less than 1.

    >>> plan_epoch(6, [(100, 0.5), (2, 0.25)])  # an epoch of 24: 6 are a quarter
    (PairSet(first=0, count=6, drawn=6), PairSet(first=6, count=100, drawn=12), PairSet(first=106, count=2, drawn=6))
    """
    main_share = 1.0 - sum(share for _, share in extra_sets)
    sets = [PairSet(0, num_pairs, num_pairs)]
    for count, share in extra_sets:
        drawn = max(1, round(num_pairs * share / main_share))
        sets.append(PairSet(sets[-1].first + sets[-1].count, count, drawn))
    return tuple(sets)


def interleave_sets(drawn: Sequence[int]) -> npt.NDArray[np.int64]:
    """Assign each position of an epoch to a set, so that every stretch contains nearly the same share of each set.

    The j-th of the n pairs of a set is placed at (j + 1/2) / n of the epoch. With one extra set, B consecutive
    positions contain B * share of its pairs within 1; with k extra sets within 1 + (k - 1) * share.

    Args:
        drawn: Pairs per epoch of each set.

    >>> interleave_sets([3, 6]).tolist()
    [1, 0, 1, 1, 0, 1, 1, 0, 1]
    """
    place = np.concatenate([(np.arange(n) + 0.5) / n for n in drawn])
    return np.repeat(np.arange(len(drawn)), drawn)[np.argsort(place, kind="stable")]


def max_pairs_per_batch(set_of_position: npt.NDArray[np.int64], batch_size: int) -> list[int]:
    """Return the largest number of pairs of each set in any batch.

    Args:
        set_of_position: Set of each position of an epoch, from ``interleave_sets``.
        batch_size: Pairs per batch.

    >>> max_pairs_per_batch(np.array([0, 1, 1, 1, 0, 1]), batch_size=3)
    [1, 2]
    """
    batch = np.arange(len(set_of_position)) // batch_size
    return [int(np.bincount(batch[set_of_position == number]).max()) for number in np.unique(set_of_position)]
