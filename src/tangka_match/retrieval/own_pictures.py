"""Encode pictures that are not in a data set like those that are, with the encoder that ``extract`` recorded."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import TypeAdapter, with_config
from typing_extensions import TypedDict  # that of typing lacks what pydantic needs before Python 3.12

from tangka_match.data.split import Split
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.models.picture_grid import PictureTower
from tangka_match.models.picture_towers import load_tower
from tangka_match.records.saved_files import read_mapping
from tangka_match.records.schema import OPEN
from tangka_match.retrieval.extraction import ENCODER_FILE, as_float16
from tangka_match.retrieval.picture_files import PICTURE_FAULTS, open_picture

MAX_PIXELS = 50_000_000
"""Pixels of a picture; larger ones are refused before they are decoded."""


@with_config(OPEN)
class _Record(TypedDict):
    encoder: str
    grid: int
    input: dict[str, Any]


RECORD: TypeAdapter[Any] = TypeAdapter(_Record)
"""Schema of the record that `extract` writes."""


class PictureEncoder:
    """Encoder of pictures to the region features of a data set.

    Args:
        tower: Vision tower that wrote the features.
    """

    def __init__(self, tower: PictureTower) -> None:
        self._tower = tower

    @classmethod
    def of(cls, split: Split) -> "PictureEncoder | None":
        """Load the recorded encoder of a data set; ``None`` if none is recorded.

        Raises:
            ConfigError: If the record or the encoder cannot be read, the settings of its input have changed, or its
                features have another shape.
        """
        path = split.captions_path.parent / ENCODER_FILE
        if not path.exists():
            return None
        try:
            record = read_mapping(path, RECORD)
        except (OSError, DataFormatError) as error:
            raise ConfigError(f"{path}: not a record of `extract` ({error}); remove it") from error
        source, grid, recorded = record["encoder"], record["grid"], record["input"]
        tower = load_tower(source, grid)
        now = tower.input_settings()
        if changed := [name for name in now if recorded.get(name) != now[name]]:
            said = ", ".join(f"{name} {recorded.get(name)!r} then, {now[name]!r} now" for name in changed)
            raise ConfigError(
                f"{path}: {source} has changed since the features were written ({said}); extract them again"
            )
        shape, found = (tower.num_regions, tower.feature_dim), (split.features.num_regions, split.features.feature_dim)
        if shape != found:
            raise ConfigError(
                f"{path}: {source} writes {shape[0]} regions of {shape[1]} dimensions, but {split.features.path} has "
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
        except PICTURE_FAULTS as error:
            if isinstance(error, DataFormatError):
                raise
            raise DataFormatError("not a picture that can be read; use PNG, JPEG or WebP") from error
        features = as_float16(self._tower([picture]))
        if not np.isfinite(features).all():
            raise DataFormatError("the features of the picture are NaN or exceed float16 (65,504), so it has no scores")
        return features
