"""Join features and captions by image id."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from posixpath import basename, splitext  # the same on every system

import numpy as np
import numpy.typing as npt

from tangka_match.data.importers.caption_text import CaptionedImage
from tangka_match.data.importers.source import FeatureSource
from tangka_match.errors import DataFormatError

NUMBER = re.compile(r"(?:.*_)?0*(\d+)")
SHOWN = 3


def _posix(name: str) -> str:
    return name.replace("\\", "/")


def _stem(name: str) -> str:
    return splitext(basename(_posix(name)))[0]


def _number(name: str) -> str | None:
    match = NUMBER.fullmatch(_stem(name))
    return None if match is None else match[1]


WAYS: dict[str, Callable[[str], str | None]] = {
    "image id": lambda name: name.strip(),
    "path without extension": lambda name: splitext(_posix(name))[0],
    "file name": lambda name: basename(_posix(name)),
    "file name without extension": _stem,
    "number in the file name": _number,
}
"""Keys that may pair images, the strictest first: ``a/1.jpg``, ``a/1``, ``1.jpg``, ``1``, and ``x_0001`` with ``1``."""


@dataclass(frozen=True, eq=False)
class Joined:
    """Images that have features and captions.

    Args:
        how: Key that paired them, in words.
        source: Index of each captioned image among the features, (M,); -1 if it has none.
        without_captions: Ids of features whose image has no captions.
        without_features: Images with captions but no features.
        repeated: Number of features whose id occurred before; the first one is used.
    """

    how: str
    source: npt.NDArray[np.int64]
    without_captions: list[str]
    without_features: list[str]
    repeated: int


def join(features: FeatureSource, images: Sequence[CaptionedImage]) -> Joined:
    """Pair features with captions.

    Of all keys in `WAYS`, the one that pairs most images is used, the stricter of two. Images without a region or a
    caption count as missing. Features without ids are in the order in which images first occur in the captions.

    Args:
        features: Features of N images.
        images: M images of the caption files.

    Raises:
        DataFormatError: If nothing matches, a key is ambiguous, or features without ids are not as many as images.
    """
    if features.ids is None:
        return _in_order(features, images)
    ids = list(features.ids)
    best_how, best = "", np.full(len(images), -1, dtype=np.int64)
    for how, key in WAYS.items():
        for place in range(max(len(image.names) for image in images)):
            found = _match(ids, images, key, place)
            if (found >= 0).sum() > (best >= 0).sum():
                best_how, best = how, found
    if (best < 0).all():
        raise DataFormatError(
            f"features and captions have no image in common: the features have ids such as {_some(ids)}, the "
            f"captions {_some([image.names[0] for image in images])}; give files of one data set, or a text file "
            "with one id per image beside the features (<name>_ids.txt)"
        )
    first: dict[str, int] = {}
    repeated = sum(first.setdefault(name, at) != at for at, name in enumerate(ids))
    used = {ids[at] for at in best[best >= 0].tolist()}
    captioned = np.array([bool(image.captions) for image in images])
    usable = (best >= 0) & captioned
    usable[best >= 0] &= features.counts[best[best >= 0]] > 0
    bare = {ids[at] for at, has in zip(best.tolist(), captioned.tolist(), strict=True) if at >= 0 and not has}
    return Joined(
        how=best_how,
        source=np.where(usable, best, -1),
        without_captions=[name for name in first if name not in used or name in bare],
        without_features=[
            image.names[0] for image, kept in zip(images, usable.tolist(), strict=True) if image.captions and not kept
        ],
        repeated=repeated,
    )


def _match(
    ids: Sequence[str], images: Sequence[CaptionedImage], key: Callable[[str], str | None], place: int
) -> npt.NDArray[np.int64]:
    """Match by one key of the names at one place; keys of several images match none of them."""
    by_key: dict[str, int] = {}
    owners: dict[str, str] = {}
    ambiguous = set()
    for at, name in enumerate(ids):
        found = key(name)
        if found is None:
            continue
        if owners.setdefault(found, name) != name:
            ambiguous.add(found)
        by_key.setdefault(found, at)
    wanted = [key(image.names[place]) if place < len(image.names) else None for image in images]
    counts = Counter(wanted)
    return np.array(
        [-1 if name is None or counts[name] > 1 or name in ambiguous else by_key.get(name, -1) for name in wanted],
        dtype=np.int64,
    )


def _in_order(features: FeatureSource, images: Sequence[CaptionedImage]) -> Joined:
    captioned = [at for at, image in enumerate(images) if image.captions]
    count = len(features.counts)
    if count != len(captioned):
        raise DataFormatError(
            f"{features.files[0]} has {count:,} images without ids, and the captions name {len(captioned):,} images: "
            f"they cannot be paired. Write the ids, one per line in the order of the rows, to "
            f"{features.files[0].with_name(features.files[0].stem + '_ids.txt')}"
        )
    source = np.full(len(images), -1, dtype=np.int64)
    source[captioned] = np.where(features.counts > 0, np.arange(count), -1)
    return Joined(
        "order in which images first occur in the captions, because the features have no ids", source, [], [], 0
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:SHOWN])
