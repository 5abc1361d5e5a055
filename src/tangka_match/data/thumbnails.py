"""Small pictures beside a data set, for people to look at; models never read them."""

import os
from pathlib import Path

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
