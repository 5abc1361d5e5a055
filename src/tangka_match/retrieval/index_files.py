"""Files of an index: append-only arrays of encoded images, complete up to the count in the manifest.

``manifest.json`` names the generation of the files, ``<part>-<generation>.bin``. Rows are appended and flushed to disk
before the manifest counts them, so that after a crash the files hold at least the rows that the manifest claims. A
rebuilt index starts a new generation instead of truncating files, which other processes may have mapped.
"""

import json
import os
import re
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter

from tangka_match.errors import ConfigError
from tangka_match.files import write_text_completely
from tangka_match.types import Encoded

FORMAT = 1
MANIFEST = "manifest.json"
DTYPES = {"pooled": np.dtype("<f4"), "tokens": np.dtype("<f4"), "mask": np.dtype("?"), "hashes": np.dtype("<u8")}
"""Dtype of each array; ``hashes`` has one hash of the region features per image."""
IDS = "ids"


@dataclass(frozen=True)
class Manifest:
    """Content of ``manifest.json``.

    Args:
        encoder: Fingerprint of the model that encoded the images.
        generation: Random part of the file names.
        images: Number of images whose rows are complete.
        shapes: Shape of the entry of one image in each array.
        ids_bytes: Length of the file of image ids.
        source: Description of the feature file when the images were read, see ``index.describe_source``.
    """

    encoder: str
    generation: str = field(default_factory=lambda: secrets.token_hex(4))
    images: int = 0
    shapes: dict[str, list[int]] = field(default_factory=dict)
    ids_bytes: int = 0
    source: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the manifest of a folder; ``None`` if it is missing, damaged or of another format."""
        try:
            content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                return None
            manifest = TypeAdapter(cls).validate_json(json.dumps(content["index"]), strict=True)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return manifest if manifest._is_sound() else None

    def _is_sound(self) -> bool:
        sizes = [self.images, self.ids_bytes, *(size for shape in self.shapes.values() for size in shape)]
        is_encoded = "pooled" in self.shapes or {"tokens", "mask"} <= set(self.shapes) or not self.images
        is_known = set(self.shapes) <= set(DTYPES) and re.fullmatch(r"\w+", self.generation) is not None
        return is_encoded and is_known and all(0 <= size < 2**40 for size in sizes)

    def write(self, folder: Path) -> None:
        """Replace the manifest of a folder, after flushing it to disk."""
        text = json.dumps({"format": FORMAT, "index": asdict(self)}, ensure_ascii=False, indent=1)
        write_text_completely(folder / MANIFEST, text)

    def path(self, folder: Path, part: str) -> Path:
        """Return the file of an array, or of the image ids."""
        return folder / f"{part}-{self.generation}.bin"


def append_rows(folder: Path, manifest: Manifest, parts: dict[str, npt.NDArray[Any]], ids: list[str]) -> Manifest:
    """Append images to the files, and return the manifest that counts them, which is written last.

    Args:
        folder: Folder of the index.
        manifest: Current manifest.
        parts: Entries of the images in each array.
        ids: Ids of the images.
    """
    shapes = {name: list(array.shape[1:]) for name, array in parts.items()}
    assert not manifest.images or shapes == manifest.shapes, f"{shapes} does not continue {manifest.shapes}"
    for name, array in parts.items():
        size = manifest.images * _row_bytes(name, shapes[name])
        _append(manifest.path(folder, name), size, np.ascontiguousarray(array, DTYPES[name]).tobytes())
    text = "".join(f"{image_id}\n" for image_id in ids).encode()
    _append(manifest.path(folder, IDS), manifest.ids_bytes, text)
    grown = replace(
        manifest, images=manifest.images + len(ids), shapes=shapes, ids_bytes=manifest.ids_bytes + len(text)
    )
    grown.write(folder)
    return grown


def read_array(folder: Path, manifest: Manifest, part: str) -> npt.NDArray[Any]:
    """Map the complete rows of an array into memory.

    Raises:
        ConfigError: If the file is missing or shorter than the manifest says.
    """
    shape = (manifest.images, *manifest.shapes[part])
    path = manifest.path(folder, part)
    needed = manifest.images * _row_bytes(part, manifest.shapes[part])
    found = path.stat().st_size if path.is_file() else 0
    if found < needed:
        raise ConfigError(
            f"{path}: {found:,} bytes, but {folder / MANIFEST} needs {needed:,}; remove the folder, and the index is "
            "built again"
        )
    # Copy-on-write, because torch warns about arrays that it could not write to.
    return np.memmap(path, DTYPES[part], "c", shape=shape)


def read_ids(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """Read the ids of the images.

    Raises:
        ConfigError: If the file is missing, or does not hold one id per image.
    """
    path = manifest.path(folder, IDS)
    try:
        with path.open("rb") as file:
            ids = tuple(file.read(manifest.ids_bytes).decode().split("\n")[:-1])
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); remove the folder {folder}") from error
    if len(ids) != manifest.images:
        raise ConfigError(
            f"{path}: {len(ids):,} ids, but {folder / MANIFEST} counts {manifest.images:,} images; remove the folder, "
            "and the index is built again"
        )
    return ids


def encoded_parts(encoded: Encoded, shapes: dict[str, list[int]]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of encoded images; sequences are padded to the length in ``shapes``, if it has one."""
    parts: dict[str, npt.NDArray[Any]] = {}
    if encoded.pooled is not None:
        parts["pooled"] = encoded.pooled.numpy()
    if encoded.tokens is not None and encoded.mask is not None:
        length = shapes.get("tokens", [encoded.tokens.shape[1]])[0]
        missing = length - encoded.tokens.shape[1]
        parts["tokens"] = np.pad(encoded.tokens.numpy(), ((0, 0), (0, missing), (0, 0)))
        parts["mask"] = np.pad(encoded.mask.numpy(), ((0, 0), (0, missing)))
    return parts


def read_encoded(folder: Path, manifest: Manifest) -> Encoded:
    """Map all encoded images into memory, as tensors that read from disk when used."""
    names = [name for name in ("pooled", "tokens", "mask") if name in manifest.shapes]
    return Encoded(**{name: torch.from_numpy(read_array(folder, manifest, name)) for name in names})  # type: ignore[arg-type]


def remove_other_generations(folder: Path, manifest: Manifest) -> None:
    """Delete the files of earlier generations; processes that have mapped them keep their content."""
    for path in folder.glob("*-*.bin"):
        if not path.name.endswith(f"-{manifest.generation}.bin"):
            path.unlink(missing_ok=True)


def _append(path: Path, size: int, content: bytes) -> None:
    """Write ``content`` after the first ``size`` bytes, over what a crash may have left there, and flush it to disk."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(size)
        file.seek(size)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _row_bytes(part: str, shape: list[int]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * DTYPES[part].itemsize
