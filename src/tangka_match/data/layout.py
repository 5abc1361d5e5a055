"""Where the files of a split lie: the precomp layout of SCAN and SGRAF."""

import os
from dataclasses import dataclass
from pathlib import Path

from tangka_match.errors import DataFormatError

FEATURES_SUFFIX = "_ims.npy"
CAPTIONS_SUFFIX = "_caps.txt"
IDS_SUFFIX = "_ids.txt"
BOXES_SUFFIX = "_boxes.npy"

STEMS = {"val": ("dev", "val")}
"""File stems of a split in order of preference, where they are not simply the split's own name."""


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split.

    Args:
        split: Name of the split, as the project says it (``val``, where files may say ``dev``).
        features: ``<stem>_ims.npy``, region features (N, R, F).
        captions: ``<stem>_caps.txt``, UTF-8, one caption a line.
        ids: ``<stem>_ids.txt``, one id an image or one a caption; ``None`` where there is no such file.
        boxes: ``<stem>_boxes.npy``, region boxes (N, R, 4); ``None`` where there is no such file.
    """

    split: str
    features: Path
    captions: Path
    ids: Path | None
    boxes: Path | None


def available_splits(root: str | Path) -> list[str]:
    """Names of the splits whose features lie in a folder, sorted; ``dev`` files count as ``val``.

    Args:
        root: Folder of the data set. A missing folder holds no split.
    """
    stems = {path.name.removesuffix(FEATURES_SUFFIX) for path in Path(root).glob(f"*{FEATURES_SUFFIX}")}
    aliases = {stem: split for split, names in STEMS.items() for stem in names}
    return sorted({aliases.get(stem, stem) for stem in stems})


def find_split(root: str | Path, split: str, setting: str = "data.root") -> SplitFiles:
    """Find the files of a split; nothing is opened.

    Args:
        root: Folder of the data set.
        split: ``train``, ``val`` (files say ``dev``; ``val`` is taken when there is no ``dev``), ``test``, or the stem
            of any other files, such as ``test5``.
        setting: That gives the folder, for messages.

    Raises:
        DataFormatError: If the folder, or the split's features or captions in it, are missing.
    """
    folder = Path(root).absolute()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise DataFormatError(
            f"{setting} must be a folder in the precomp layout; found {found} at {folder}. "
            f"Give the folder that holds train{FEATURES_SUFFIX} and train{CAPTIONS_SUFFIX}."
        )
    stems = STEMS.get(split, (split,))
    stem = next((name for name in stems if (folder / f"{name}{FEATURES_SUFFIX}").is_file()), None)
    if stem is None:
        wanted = " or ".join(str(folder / f"{name}{FEATURES_SUFFIX}") for name in stems)
        there = ", ".join(available_splits(folder)) or "none"
        raise DataFormatError(
            f"split {split!r} has no features: looked for {wanted}; splits found in this folder: {there}. "
            f"Check {setting} and the split's name, or write the missing files."
        )
    captions = folder / f"{stem}{CAPTIONS_SUFFIX}"
    if not captions.is_file():
        raise DataFormatError(
            f"split {split!r} has features but no captions: {captions} is missing. "
            "Write it as UTF-8, one caption a line, the captions of one image on consecutive lines."
        )
    ids, boxes = folder / f"{stem}{IDS_SUFFIX}", folder / f"{stem}{BOXES_SUFFIX}"
    return SplitFiles(
        split=split,
        features=folder / f"{stem}{FEATURES_SUFFIX}",
        captions=captions,
        ids=ids if ids.is_file() else None,
        boxes=boxes if boxes.is_file() else None,
    )


FOLDER = "thumbnails"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def find_thumbnail(root: Path, image_id: str) -> Path | None:
    """Find ``<root>/thumbnails/<image id>``, with a suffix of its own or one of ``SUFFIXES``.

    Args:
        root: Folder of the data set.
        image_id: As in ``_ids.txt``; one with a slash in it never leads out of the folder.

    Returns:
        The file, or ``None`` where there is none.
    """
    if not image_id or Path(image_id).name != image_id:
        return None
    own = [image_id] if image_id.lower().endswith(SUFFIXES) else []
    candidates = (root / FOLDER / name for name in [*own, *(f"{image_id}{suffix}" for suffix in SUFFIXES)])
    # Unlike Path.is_file, False also for a name that is longer than the file system takes.
    return next((path for path in candidates if os.path.isfile(path)), None)  # noqa: PTH113
