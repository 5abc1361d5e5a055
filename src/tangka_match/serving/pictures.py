"""Thumbnails of a data set: files of its thumbnail folder, and nothing else."""

from dataclasses import dataclass
from pathlib import Path

from tangka_match.data.layout import THUMBNAIL_FOLDER, find_thumbnail

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}


@dataclass(frozen=True)
class Pictures:
    """Thumbnails of a data set.

    Args:
        root: Folder of the data set.
    """

    root: Path

    @property
    def folder(self) -> Path:
        """Folder of the thumbnails."""
        return self.root / THUMBNAIL_FOLDER

    def find(self, image_id: str) -> Path | None:
        """Find the thumbnail of an image; ``None`` if there is none, or if a link leads out of the folder."""
        if "\0" in image_id:
            return None
        path = find_thumbnail(self.root, image_id)
        if path is None or not path.resolve().is_relative_to(self.folder.resolve()):
            return None
        return path

    def has_any(self, image_ids: tuple[str, ...]) -> bool:
        """Check whether one of the images has a thumbnail."""
        return self.folder.is_dir() and any(self.find(image_id) is not None for image_id in image_ids)
