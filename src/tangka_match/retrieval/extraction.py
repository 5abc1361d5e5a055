"""Extract features of pictures and write them, with their captions, as a split in the precomp layout."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

from tangka_match.data.npy import reserve_npy, save_npy
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.files import naming, write_text_completely, written_completely
from tangka_match.models.picture_grid import PictureTower
from tangka_match.retrieval.picture_files import PICTURE_FAULTS, open_picture

ENCODER_FILE = "encoder.json"
_NO_PICTURES = {".bufr", ".emf", ".eps", ".grib", ".h5", ".hdf", ".mpeg", ".mpg", ".ps", ".wmf"}
"""Files that Pillow only identifies, or needs another program for."""
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


def find_pictures(images: Path) -> list[str]:
    """List the picture files of a folder at any depth, except hidden ones, as paths within the folder.

    Raises:
        DataFormatError: If there are none.
    """
    Image.init()
    readable = {suffix for suffix, form in Image.EXTENSION.items() if form in Image.OPEN} - _NO_PICTURES
    inside = (path.relative_to(images) for path in images.rglob("*") if path.is_file())
    names = sorted(
        path.as_posix()
        for path in inside
        if path.suffix.lower() in readable and not any(part.startswith(".") for part in path.parts)
    )
    if not names:
        raise DataFormatError(
            f"images={images}: no pictures there; give the folder with PNG, JPEG, TIFF or other files"
        )
    return names


def check_encoder(out: Path, source: str, tower: PictureTower) -> None:
    """Check that the features of a folder, if it has some, are those of this encoder.

    Raises:
        ConfigError: If they are of another encoder, or of the same one with other settings.
    """
    path = out / ENCODER_FILE
    if path.exists() and path.read_text("utf-8") != _record(source, tower):
        raise ConfigError(
            f"out: {path} says that {out} holds features of another encoder, or with other settings; all splits of a "
            "data set need the same: give another out"
        )


def record_encoder(out: Path, source: str, tower: PictureTower) -> None:
    """Record the encoder of the features in ``encoder.json``, so that `own_pictures` encodes further pictures alike."""
    write_text_completely(out / ENCODER_FILE, _record(source, tower))


def _record(source: str, tower: PictureTower) -> str:
    known = str(Path(source).absolute()) if Path(source).exists() else source
    record = {"encoder": known, "grid": tower.grid, "input": tower.input_settings()}
    return json.dumps(record, indent=1) + "\n"


def extract_split(
    tower: PictureTower, images: Path, captions: Path | None, out: Path, *, split: str, batch_size: int
) -> Path:
    """Write ``<split>_{ims.npy,caps.txt,ids.txt,boxes.npy}``; the features appear last, complete or not at all.

    Args:
        tower: Encoder of the pictures.
        images: Folder of the pictures.
        captions: Caption file, see `read_captions`; ``None`` encodes all pictures of the folder and writes no
            ``caps.txt`` and one id per image, as ``prepare`` reads them.
        out: Folder of the data set.
        split: Stem of the files: ``train``, ``dev`` or ``test``.
        batch_size: Pictures encoded at once.

    Returns:
        Path of the feature file, (pictures, R, F) float16.

    Raises:
        ConfigError: If the split exists.
        DataFormatError: If the caption file is malformed, or pictures are missing or damaged, of which all are checked
            before any is encoded; or if a feature exceeds float16.
    """
    target = out / f"{split}_ims.npy"
    if target.exists():
        raise ConfigError(f"out: {target} exists, and nothing is overwritten: give another out or split")
    if captions is None:
        names = find_pictures(images)
        lines = {"ids.txt": names}
    else:
        texts = read_captions(captions)
        names = list(texts)
        lines = {
            "caps.txt": [text for name in names for text in texts[name]],
            "ids.txt": [name for name in names for _ in texts[name]],
        }
    _check_pictures(images, names)
    boxes = np.broadcast_to(tower.boxes(), (len(names), tower.num_regions, 4))
    with ExitStack() as stack:  # renames in reverse order, the features last
        features = stack.enter_context(written_completely(target))
        for name, content in lines.items():
            with naming(out / f"{split}_{name}"):
                _write_lines(stack.enter_context(written_completely(out / f"{split}_{name}")), content)
        with naming(out / f"{split}_boxes.npy"):
            save_npy(stack.enter_context(written_completely(out / f"{split}_boxes.npy")), boxes)
        with naming(target):
            _encode(tower, images, names, features, batch_size)
    return target


def _encode(tower: PictureTower, images: Path, names: Sequence[str], path: Path, batch_size: int) -> None:
    """Write the features; a disk that cannot hold them is found before the first picture is encoded."""
    offset = reserve_npy(path, (len(names), tower.num_regions, tower.feature_dim), np.dtype(np.float16))
    with path.open("r+b") as file:
        file.seek(offset)
        for start in track(range(0, len(names), batch_size), "encoding pictures", transient=True):
            block = names[start : start + batch_size]
            features = as_float16(tower(open_picture(images / name) for name in block))
            finite = np.isfinite(features).all(axis=(1, 2))
            if not finite.all():
                raise DataFormatError(
                    f"images={images}: the features of {block[int(finite.argmin())]} are NaN or exceed float16 "
                    "(65,504); use another encoder"
                )
            file.write(features.tobytes())


def as_float16(features: Tensor) -> npt.NDArray[np.float16]:
    """Convert features to the dtype in which they are stored; values beyond 65,504 become infinite."""
    return features.cpu().to(torch.float16).numpy()


def _check_pictures(images: Path, names: Sequence[str]) -> None:
    """Decode every picture, so that a damaged one is found before hours of encoding."""
    bad = []
    for name in track(names, "checking pictures", transient=True):
        try:
            open_picture(images / name)
        except PICTURE_FAULTS as error:
            bad.append(f"{name}: {'missing' if isinstance(error, FileNotFoundError) else error}")
    if bad:
        more = f"\n  and {len(bad) - MAX_LISTED} more" if len(bad) > MAX_LISTED else ""
        raise DataFormatError(
            f"images={images}: {len(bad)} of {len(names)} pictures are missing or damaged; replace them, or remove "
            "their lines from the caption file:\n  " + "\n  ".join(bad[:MAX_LISTED]) + more
        )


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
