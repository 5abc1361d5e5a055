"""Score matrices that other programs wrote: reading, pairing with image ids, and checks for usual mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.data.captions import read_lines
from tangka_match.data.importers.arrays import open_npy
from tangka_match.data.split import Split
from tangka_match.errors import ConfigError, DataFormatError, count
from tangka_match.metrics import Ranks, retrieval_ranks

CHANCE, DEVIATIONS = 0.5, 5.0
"""Mean share of wrong images that score above the correct one, without any skill; above it by so many standard errors,
the numbers are distances."""


@dataclass(frozen=True, eq=False)
class GivenScores:
    """Scores of I images and C captions.

    Args:
        path: File they were read from.
        similarity: Scores, (I, C).
        caption_to_image: Row of each caption's image, (C,) int64.
        image_ids: Ids of the images; their rows as text if no ids were given.
    """

    path: Path
    similarity: Float[Tensor, "I C"]
    caption_to_image: npt.NDArray[np.int64]
    image_ids: tuple[str, ...]

    @property
    def num_images(self) -> int:
        """Number of images, I."""
        return len(self.image_ids)

    @property
    def num_captions(self) -> int:
        """Number of captions, C."""
        return len(self.caption_to_image)


@dataclass(frozen=True)
class Pairing:
    """Which caption belongs to which image.

    Args:
        captions_per_image: Captions of each image, on consecutive columns; ``None`` if ``ids`` says it.
        ids: Text file with one image id per caption, images numbered by first occurrence; or one per image, with
            ``captions_per_image``. ``None`` if there are no ids.
    """

    captions_per_image: int | None
    ids: Path | None

    def read(self, path: Path, shape: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
        """Return the row of each caption's image, and the image ids.

        Raises:
            ConfigError: If neither is given.
            DataFormatError: If they do not fit the shape of the matrix; the message says how it looks.
        """
        ids = None if self.ids is None else read_lines(self.ids)
        if ids is None and self.captions_per_image is None:
            raise ConfigError(
                f"{path}: which caption belongs to which image? Set captions_per_image=5, or ids=<text file with the "
                "image id of each caption>"
            )
        if ids is None or len(ids) != shape[1] or self.captions_per_image is not None:
            return self._consecutive(path, shape, ids)
        rows: dict[str, int] = {}
        owners = np.array([rows.setdefault(name, len(rows)) for name in ids], dtype=np.int64)
        _check_rows(path, shape, len(rows), f"{self.ids} names {count(len(rows), 'image')}")
        return owners, tuple(rows)

    def _consecutive(
        self, path: Path, shape: tuple[int, ...], ids: Sequence[str] | None
    ) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
        images, captions = shape
        if self.captions_per_image is None:
            assert ids is not None
            found = f"{self.ids} has {len(ids):,} ids"
            if len(ids) == images:
                raise DataFormatError(
                    f"{path}: shape {shape}; {found}, one per row. Are rows captions? Then save the matrix as array.T; "
                    "if they are images, set captions_per_image as well"
                )
            raise DataFormatError(f"{path}: shape {shape}; {found}; expected {captions:,}, one per caption (column)")
        k = self.captions_per_image
        _check_rows(path, shape, captions // k if captions % k == 0 else -1, f"captions_per_image={k}")
        if ids is not None and len(ids) not in (images, captions):
            raise DataFormatError(
                f"{self.ids}: {len(ids):,} ids; {path} has {images:,} images and {captions:,} captions"
            )
        if ids is not None and len(ids) == captions != images:
            ids = ids[::k]
        if ids is not None and len(set(ids)) < images:
            raise DataFormatError(f"{self.ids}: two images have the same id; ids of images must be unique")
        names = tuple(ids) if ids is not None else tuple(map(str, range(images)))
        return np.arange(captions, dtype=np.int64) // k, names


def read_scores(path: Path, pairing: Pairing | Split) -> GivenScores:
    """Read a score matrix and check it.

    Args:
        path: File ``.npy``, rows images, columns captions, higher = closer.
        pairing: Which caption belongs to which image, or the split that was scored.

    Raises:
        ConfigError: If the file does not exist, or nothing says which caption belongs to which image.
        DataFormatError: If the matrix is transposed, repeats images per caption, holds distances or values that are not
            finite, or does not fit the pairing.
    """
    if not path.is_file():
        raise ConfigError(f"similarity={path}: no such file; save the scores with np.save('scores.npy', array)")
    stored = open_npy(path)
    if len(stored.shape) != 2 or min(stored.shape) < 2 or stored.dtype.kind not in "fiu":
        raise DataFormatError(
            f"{path}: shape {stored.shape}, dtype {stored.dtype}; expected numbers (images, captions), at least "
            "2 of each"
        )
    if isinstance(pairing, Split):
        owners, image_ids = pairing.caption_to_image, pairing.image_ids
        if stored.shape != (len(image_ids), len(owners)):
            _check_rows(path, stored.shape, len(image_ids), str(pairing.captions_path))
            raise DataFormatError(f"{path}: shape {stored.shape}; {pairing.captions_path} has {len(owners):,} captions")
    else:
        owners, image_ids = pairing.read(path, stored.shape)
    array = stored.rows(0, stored.shape[0])
    values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64 if array.dtype.itemsize > 4 else np.float32))
    bad = (~values.isfinite()).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise DataFormatError(
            f"{path}: {count(len(bad), 'value')} NaN or infinite, the first in row {row}, column {column} "
            f"({float(values[row, column])}); a model that gives NaN has no ranking: find out why first"
        )
    scores = GivenScores(path, values, owners, image_ids)
    _check_direction(scores, retrieval_ranks(values, torch.as_tensor(owners)))
    return scores


def _check_rows(path: Path, shape: tuple[int, ...], images: int, source: str) -> None:
    """Compare the rows with the number of images, and recognise the usual mistakes."""
    rows, columns = shape
    if rows == images:
        return
    if columns > 0 and rows % columns == 0 and rows > columns:
        advice = "rows must be images and columns captions, and this looks transposed: np.save(path, array.T)"
    elif rows == columns and images > 0 and rows % images == 0:
        advice = f"images look repeated per caption: np.save(path, array[::{rows // images}])"
    else:
        advice = "rows must be images and columns captions; correct captions_per_image or ids"
    raise DataFormatError(f"{path}: shape {shape} does not fit {source}; {advice}")


def _check_direction(scores: GivenScores, ranks: Ranks) -> None:
    """Refuse distances: the correct image then ranks near the end, which no model does by chance."""
    if bool((scores.similarity == scores.similarity[0, 0]).all()):
        return  # a collapsed model, of which the evaluation warns
    images = scores.num_images
    share = float((ranks.t2i.double() - 1).mean()) / (images - 1)
    error = (1 / 12 / images) ** 0.5  # of the mean of uniform shares, with one independent caption per image
    if share > CHANCE + DEVIATIONS * error:
        raise DataFormatError(
            f"{scores.path}: the correct image scores lower than {100 * share:.0f} % of the wrong ones. These look "
            "like distances, and scores are higher for better matches: np.save(path, -array)"
        )
