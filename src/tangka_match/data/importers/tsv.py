"""Bottom-up-attention TSV: one line per image, boxes and features in base64.

Fields of https://github.com/peteanderson80/bottom-up-attention: image_id, image_w, image_h, num_boxes, boxes, features;
those of LXMERT have objects and attributes as well. Numbers are float32.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tangka_match.data.importers.source import ImageRegions, progress, relative_boxes
from tangka_match.errors import DataFormatError

FIELDS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LXMERT_FIELDS = (
    *("img_id", "img_h", "img_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf"),
    *("num_boxes", "boxes", "features"),
)
SAME_FIELDS = {"img_id": "image_id", "img_w": "image_w", "img_h": "image_h", "width": "image_w", "height": "image_h"}
LONGEST_LINE = 64 * 2**20
"""Most bytes of a line: 1,500 boxes of 8,192 numbers."""


def fields_of(line: bytes) -> tuple[tuple[str, ...], bool] | None:
    r"""Return the fields of a file by its first line, and whether that line is a header; ``None`` if it is no such TSV.

    >>> fields_of(b"17\t640\t480\t2\tAAAA\tAAAA\n")[1]
    False
    >>> fields_of(b"image\tcaption\n") is None
    True
    """
    parts = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n").split(b"\t")
    names = tuple(part.decode("utf-8", "replace").strip() for part in parts)
    if {"num_boxes", "features"} <= set(names):
        return names, True
    by_length = {len(FIELDS): FIELDS, len(LXMERT_FIELDS): LXMERT_FIELDS}
    fields = by_length.get(len(parts))
    if fields is None or not parts[fields.index("num_boxes")].strip().isdigit():
        return None
    return fields, False


@dataclass(frozen=True, eq=False)
class TsvFeatures:
    """Features in one TSV file.

    Args:
        path: The file.
        columns: Position of each field.
        offsets: Start of each image's line in the file (bytes).
        ids: Image ids.
        counts: Boxes of each image, (N,).
        dim: Dimensions per region.
    """

    path: Path
    columns: dict[str, int]
    offsets: Sequence[int]
    ids: Sequence[str]
    counts: npt.NDArray[np.int64]
    dim: int
    kind: str = "bottom-up-attention TSV"

    @property
    def files(self) -> Sequence[Path]:
        """The file."""
        return [self.path]

    def read(self, images: npt.NDArray[np.int64]) -> Iterator[ImageRegions]:
        """Read images one by one."""
        with self.path.open("rb") as file:
            for image in images.tolist():
                file.seek(self.offsets[image])
                yield self._parse(image, file.readline())

    def _parse(self, image: int, line: bytes) -> ImageRegions:
        parts = line.rstrip(b"\r\n").split(b"\t")
        count, width, height = int(self.counts[image]), *(self._size(parts, name) for name in ("image_w", "image_h"))
        try:
            regions = np.frombuffer(base64.b64decode(_plain(parts[self.columns["features"]])), "<f4")
            boxes = None
            if "boxes" in self.columns:
                boxes = np.frombuffer(base64.b64decode(_plain(parts[self.columns["boxes"]])), "<f4").reshape(count, 4)
            return ImageRegions(
                image,
                regions.reshape(count, self.dim),
                None if boxes is None else relative_boxes(boxes, width, height),
            )
        except (binascii.Error, ValueError) as error:
            raise DataFormatError(
                f"{self.path}: image {self.ids[image]!r}: boxes or features cannot be decoded ({error}); copy the file "
                "again, or extract this image again"
            ) from error

    def _size(self, parts: Sequence[bytes], name: str) -> float | None:
        if name not in self.columns:
            return None
        try:
            return float(parts[self.columns[name]])
        except ValueError:
            return None


def open_tsv(path: Path) -> TsvFeatures:
    """Find the images of a file without decoding them.

    Args:
        path: TSV file.

    Raises:
        DataFormatError: If a line lacks fields, or its features are not ``num_boxes`` vectors of one size.
    """
    with path.open("rb") as file:
        known = fields_of(file.readline(LONGEST_LINE))
    if known is None:
        raise DataFormatError(
            f"{path}: line 1 is no bottom-up-attention TSV; expected {len(FIELDS)} fields with tabs between: "
            f"{', '.join(FIELDS)}"
        )
    names, has_header = known
    columns = {SAME_FIELDS.get(name, name): at for at, name in enumerate(names)}
    if "image_id" not in columns:
        raise DataFormatError(f"{path}: line 1 has no column image_id; found {', '.join(names)}")
    offsets, ids, counts, dims = [], [], [], []
    offset = 0
    bar, task = progress(path.stat().st_size, f"finding the images of {path.name}")
    with bar, path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not (number == 1 and has_header) and line.strip():
                image_id, count, dim = _measure(line, columns, len(names), f"{path}: line {number}")
                offsets.append(offset)
                ids.append(image_id)
                counts.append(count)
                dims.append(dim)
            offset += len(line)
            bar.advance(task, len(line))
    found = sorted({dim for dim in dims if dim})
    if len(found) != 1:
        odd = next((at for at, dim in enumerate(dims) if dim and dim != dims[0]), None)
        what = (
            "no image with a box" if odd is None else f"image {ids[odd]!r} has {dims[odd]} dimensions, others {dims[0]}"
        )
        raise DataFormatError(f"{path}: {what}; every image needs num_boxes vectors of one size")
    return TsvFeatures(path, columns, offsets, ids, np.array(counts, dtype=np.int64), found[0])


def _measure(line: bytes, columns: dict[str, int], width: int, where: str) -> tuple[str, int, int]:
    """Return image id, boxes, and dimensions (0 without boxes) of a line."""
    parts = line.rstrip(b"\r\n").split(b"\t")
    if len(parts) != width:
        raise DataFormatError(f"{where} has {len(parts)} fields, expected {width}: the file is cut off or damaged")
    try:
        image_id = _plain(parts[columns["image_id"]]).decode("utf-8").strip()
        count = int(parts[columns["num_boxes"]])
    except (UnicodeDecodeError, ValueError) as error:
        raise DataFormatError(f"{where}: image id or num_boxes cannot be read ({error})") from error
    text = _plain(parts[columns["features"]])
    size = len(text) * 3 // 4 - text[-2:].count(b"=")
    if count < 0 or size % 4 or (count and size % (4 * count)) or (not count and size):
        raise DataFormatError(
            f"{where}: image {image_id!r} has num_boxes={count} and {size:,} bytes of features, which is not num_boxes "
            "vectors of float32: the line is cut off, or has other numbers"
        )
    return image_id, count, size // (4 * count) if count else 0


def _plain(text: bytes) -> bytes:
    """Remove the ``b'…'`` that Python 3 scripts write around bytes."""
    return text[2:-1] if text[:2] in (b"b'", b'b"') and text[-1:] == text[1:2] else text
