"""File names of the precomp layout of SCAN and SGRAF, and thumbnails."""

import os
from dataclasses import dataclass
from pathlib import Path

from tangka_match.errors import DataFormatError

FEATURES_SUFFIX = "_ims.npy"
CAPTIONS_SUFFIX = "_caps.txt"
IDS_SUFFIX = "_ids.txt"
BOXES_SUFFIX = "_boxes.npy"

STEMS = {"val": ("dev", "val")}
"""File stems of a split in order of preference, if they differ from its name."""

THUMBNAIL_FOLDER = "thumbnails"
THUMBNAIL_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


FOREIGN_SUFFIXES = (".npz", ".h5", ".hdf5", ".tsv")
"""Feature files of other programs."""


@dataclass(frozen=True)
class SplitFiles:
    """Files of one split.

    Args:
        split: Name of the split in this project (``val``, even if the files are called ``dev``).
        features: Region features ``<stem>_ims.npy``, (N, R, F).
        captions: Captions ``<stem>_caps.txt``, UTF-8, one per line.
        ids: Image ids ``<stem>_ids.txt``, one per image or one per caption; ``None`` if the file is missing.
        boxes: Region boxes ``<stem>_boxes.npy``, (N, R, 4); ``None`` if the file is missing.
    """

    split: str
    features: Path
    captions: Path
    ids: Path | None
    boxes: Path | None


def available_splits(root: str | Path) -> list[str]:
    """List the splits with features in a folder, sorted; ``dev`` files count as ``val``.

    Args:
        root: Folder of the data set; a missing folder has no splits.
    """
    stems = {path.name.removesuffix(FEATURES_SUFFIX) for path in Path(root).glob(f"*{FEATURES_SUFFIX}")}
    aliases = {stem: split for split, names in STEMS.items() for stem in names}
    return sorted({aliases.get(stem, stem) for stem in stems})


def find_split(root: str | Path, split: str, setting: str = "data.root") -> SplitFiles:
    """Find the files of a split, without opening them.

    Args:
        root: Folder of the data set.
        split: ``train``, ``val`` (files ``dev``, otherwise ``val``), ``test``, or the stem of any other files, such
            as ``test5``.
        setting: Name of the setting that gives the folder, for messages.

    Raises:
        DataFormatError: If the folder, the features or the captions are missing.
    """
    folder = Path(root).absolute()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        remedy = f"Set it to the folder with train{FEATURES_SUFFIX} and train{CAPTIONS_SUFFIX}."
        if folder.exists() and folder.suffix in FOREIGN_SUFFIXES:
            remedy = _prepare(folder)
        raise DataFormatError(f"{setting} must be a folder in the precomp layout; found {found} at {folder}. {remedy}")
    stems = STEMS.get(split, (split,))
    stem = next((name for name in stems if (folder / f"{name}{FEATURES_SUFFIX}").is_file()), None)
    if stem is None:
        wanted = " or ".join(str(folder / f"{name}{FEATURES_SUFFIX}") for name in stems)
        there = ", ".join(available_splits(folder)) or "none"
        others = [path for path in sorted(folder.iterdir()) if path.suffix in FOREIGN_SUFFIXES]
        raise DataFormatError(
            f"split {split!r} has no features: looked for {wanted}; splits found in this folder: {there}. "
            f"Check {setting} and the split's name, or write the missing files."
            + (f" {_prepare(others[0])}" if others else "")
        )
    captions = folder / f"{stem}{CAPTIONS_SUFFIX}"
    if not captions.is_file():
        raise DataFormatError(
            f"split {split!r} has features but no captions: {captions} is missing. "
            "Write it as UTF-8, one caption per line, with the captions of an image on consecutive lines."
        )
    ids, boxes = folder / f"{stem}{IDS_SUFFIX}", folder / f"{stem}{BOXES_SUFFIX}"
    return SplitFiles(
        split=split,
        features=folder / f"{stem}{FEATURES_SUFFIX}",
        captions=captions,
        ids=ids if ids.is_file() else None,
        boxes=boxes if boxes.is_file() else None,
    )


def _prepare(path: Path) -> str:
    return (
        f"Files of other programs become a data set by: python -m tangka_match.prepare features={path} "
        "captions=<file> out=<new folder>"
    )


def find_thumbnail(root: Path, image_id: str) -> Path | None:
    """Find ``<root>/thumbnails/<image id>``, with its own suffix or one of ``THUMBNAIL_SUFFIXES``.

    Args:
        root: Folder of the data set.
        image_id: Image id as in ``_ids.txt``; ids with a slash are ignored, so that no file outside is found.

    Returns:
        The file, or ``None`` if it is missing.
    """
    if not image_id or Path(image_id).name != image_id:
        return None
    own = [image_id] if image_id.lower().endswith(THUMBNAIL_SUFFIXES) else []
    names = [*own, *(f"{image_id}{suffix}" for suffix in THUMBNAIL_SUFFIXES)]
    candidates = (root / THUMBNAIL_FOLDER / name for name in names)
    # Unlike Path.is_file, this is also False for a name longer than the file system allows.
    return next((path for path in candidates if os.path.isfile(path)), None)  # noqa: PTH113
