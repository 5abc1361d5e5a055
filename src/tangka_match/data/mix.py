"""Further data sets beside a run's own: what users set, and the sets opened."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tangka_match.data.features import RegionFeatures
from tangka_match.data.joined import check_same_shape
from tangka_match.data.known_images import KnownImages
from tangka_match.data.layout import available_splits, find_split
from tangka_match.data.split import Split, load_split
from tangka_match.data.subset import keep_images
from tangka_match.errors import ConfigError

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
