"""Extract features of pictures and write them, with their captions, as a split in the precomp layout."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps
from rich.progress import track

from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.models.chinese_clip import VisionTower

ENCODER_FILE = "encoder.json"
MAX_LISTED = 20
"""Maximum number of damaged pictures that a message lists."""


def read_captions(path: Path) -> dict[str, list[str]]:
    """Read captions from lines ``<picture file>TAB<caption>`` in UTF-8; the captions of a picture may be scattered.

    Returns:
        Captions of each picture, in the order of the file.

    Raises:
        DataFormatError: If the file cannot be read, is empty, or a line has another form.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataFormatError(f"captions={path}: cannot be read as UTF-8 text ({error})") from error
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        picture, tab, caption = line.partition("\t")
        if not (picture.strip() and tab and caption.strip()):
            raise DataFormatError(f"captions={path}: line {number} is {line!r}; expected <picture file>TAB<caption>")
        captions.setdefault(picture.strip(), []).append(caption.strip())
    if not captions:
        raise DataFormatError(f"captions={path}: empty; expected one line <picture file>TAB<caption> per caption")
    return captions


def open_picture(path: Path | BinaryIO) -> Image.Image:
    """Decode a picture to RGB, rotated by its EXIF orientation, with transparent areas on white.

    Args:
        path: Path, or open file.
    """
    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture)
        if not upright.has_transparency_data:
            return upright.convert("RGB")
        opaque = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(opaque, upright.convert("RGBA")).convert("RGB")


def record_encoder(out: Path, clip: str, grid: int) -> None:
    """Record the encoder of the features in ``encoder.json``, so that `own_pictures` encodes further pictures alike."""
    known = str(Path(clip).absolute()) if Path(clip).exists() else clip
    (out / ENCODER_FILE).write_text(json.dumps({"clip": known, "grid": grid}) + "\n", encoding="utf-8")


def extract_split(tower: VisionTower, images: Path, captions: Path, out: Path, *, split: str, batch_size: int) -> Path:
    """Write ``<split>_{ims.npy,caps.txt,ids.txt,boxes.npy}``; the features appear last, complete or not at all.

    Args:
        tower: Encoder of the pictures.
        images: Folder of the pictures.
        captions: Caption file, see `read_captions`.
        out: Folder of the data set.
        split: Stem of the files: ``train``, ``dev`` or ``test``.
        batch_size: Pictures encoded at once.

    Returns:
        Path of the feature file, (pictures, 1 + grid², F) float16.

    Raises:
        ConfigError: If the split exists.
        DataFormatError: If the caption file is malformed, or pictures are missing or damaged; all pictures are checked
            before any is encoded.
    """
    target = out / f"{split}_ims.npy"
    if target.exists():
        raise ConfigError(f"out: {target} exists, and nothing is overwritten: give another out or split")
    texts = read_captions(captions)
    names = list(texts)
    _check_pictures(images, names)
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f".partial-{target.name}"
    boxes = np.broadcast_to(tower.boxes(), (len(names), 1 + tower.grid**2, 4))
    try:
        _encode(tower, images, names, partial, batch_size)
        _write_lines(out / f"{split}_caps.txt", [text for name in names for text in texts[name]])
        _write_lines(out / f"{split}_ids.txt", [name for name in names for _ in texts[name]])
        np.save(out / f"{split}_boxes.npy", boxes)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _encode(tower: VisionTower, images: Path, names: Sequence[str], path: Path, batch_size: int) -> None:
    shape = (len(names), 1 + tower.grid**2, tower.feature_dim)
    features: Any = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    for start in track(range(0, len(names), batch_size), "encoding pictures", transient=True):
        block = [open_picture(images / name) for name in names[start : start + batch_size]]
        features[start : start + len(block)] = tower(block).cpu().numpy()
    features.flush()


def _check_pictures(images: Path, names: Sequence[str]) -> None:
    """Decode every picture, so that a damaged one is found before hours of encoding."""
    bad = []
    for name in track(names, "checking pictures", transient=True):
        try:
            open_picture(images / name)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            bad.append(f"{name}: {'missing' if isinstance(error, FileNotFoundError) else error}")
    if bad:
        more = f"\n  and {len(bad) - MAX_LISTED} more" if len(bad) > MAX_LISTED else ""
        raise DataFormatError(
            f"images={images}: {len(bad)} of {len(names)} pictures are missing or damaged; replace them, or remove "
            "their lines from the caption file:\n  " + "\n  ".join(bad[:MAX_LISTED]) + more
        )


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
