"""Encode pictures that are not in a data set like those that are, with the encoder that ``extract`` recorded."""

import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tangka_match.data.split import Split
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.models.chinese_clip import VisionTower
from tangka_match.retrieval.extraction import ENCODER_FILE, open_picture

MAX_PIXELS = 50_000_000
"""Pixels of a picture; larger ones are refused before they are decoded."""


class PictureEncoder:
    """Encoder of pictures to the region features of a data set.

    Args:
        tower: Vision tower that wrote the features.
    """

    def __init__(self, tower: VisionTower) -> None:
        self._tower = tower

    @classmethod
    def of(cls, split: Split) -> "PictureEncoder | None":
        """Load the recorded encoder of a data set; ``None`` if none is recorded.

        Raises:
            ConfigError: If the record or the encoder cannot be read, or it writes features of another shape.
        """
        path = split.captions_path.parent / ENCODER_FILE
        if not path.exists():
            return None
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            clip, grid = str(record["clip"]), int(record["grid"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: not a record of `extract` ({error!r}); remove it") from error
        tower = VisionTower(clip, grid).eval()
        shape, found = (1 + grid**2, tower.feature_dim), (split.features.num_regions, split.features.feature_dim)
        if shape != found:
            raise ConfigError(
                f"{path}: {clip} writes {shape[0]} regions of {shape[1]} dimensions, but {split.features.path} has "
                f"{found[0]} of {found[1]}; remove {ENCODER_FILE}"
            )
        return cls(tower)

    def encode(self, content: bytes) -> npt.NDArray[np.float16]:
        """Encode a picture, in the dtype of `extract`.

        Args:
            content: Bytes of a picture file.

        Returns:
            Region features, (1, R, F).

        Raises:
            DataFormatError: If it is not a picture, is damaged or too large.
        """
        try:
            with Image.open(io.BytesIO(content)) as opened:
                width, height = opened.size
            if width * height > MAX_PIXELS:
                raise DataFormatError(f"the picture has {width} x {height} pixels; at most {MAX_PIXELS:,} are allowed")
            picture = open_picture(io.BytesIO(content))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            if isinstance(error, DataFormatError):
                raise
            raise DataFormatError("not a picture that can be read; use PNG, JPEG or WebP") from error
        return self._tower([picture]).cpu().numpy().astype(np.float16)
