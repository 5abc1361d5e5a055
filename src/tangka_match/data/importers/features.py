"""Recognise the format of feature files by their content."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tangka_match.data.importers.hdf5 import open_hdf5
from tangka_match.data.importers.image_files import open_image_folder
from tangka_match.data.importers.orientation import FeatureAxis
from tangka_match.data.importers.source import FeatureSource, join_sources
from tangka_match.data.importers.split_arrays import open_npy_features, open_npz_features
from tangka_match.data.importers.tsv import FIELDS, LONGEST_LINE, fields_of, open_tsv
from tangka_match.errors import ConfigError, DataFormatError

Opener = Callable[[Path, FeatureAxis, Callable[[], Path]], FeatureSource]


TAB, LINE_END = b"\t", b"\n"
HEAD_BYTES = 1024
"""Bytes that tell a format; of a text file, the whole first line."""


class FeatureFormat(NamedTuple):
    """Format of a feature file.

    Attributes:
        name: Name for people.
        matches: Whether a file has this format, by its first bytes.
        open: Reader.
    """

    name: str
    matches: Callable[[bytes], bool]
    open: Opener


FORMATS = (
    FeatureFormat(".npy", lambda head: head.startswith(b"\x93NUMPY"), open_npy_features),
    FeatureFormat(".npz", lambda head: head.startswith(b"PK\x03\x04") and b".npy" in head, open_npz_features),
    FeatureFormat("HDF5", lambda head: head.startswith(b"\x89HDF\r\n\x1a\n"), open_hdf5),
    FeatureFormat(
        "bottom-up-attention TSV",
        lambda head: fields_of(head.split(LINE_END)[0]) is not None,
        lambda path, _axis, _scratch: open_tsv(path),
    ),
)
SHARD_SUFFIXES = (".tsv", ".h5", ".hdf5")
"""Files that hold many images each, if a folder has any that are features."""


def open_features(paths: Sequence[Path], axis: FeatureAxis, scratch: Callable[[], Path]) -> FeatureSource:
    """Open the features of a data set.

    Args:
        paths: Files or folders, joined in this order. A folder holds files of many images (TSV, HDF5, or arrays that
            each have a ``_ids.txt`` beside them), or one ``.npy`` or ``.npz`` file per image.
        axis: Axis of the dimensions of an array, see `orientation.item_shape`.
        scratch: Function that returns a folder for temporary files.

    Raises:
        ConfigError: If a path does not exist.
        DataFormatError: If a format is unknown, or the files do not fit each other.
    """
    return join_sources([part for path in paths for part in _open(path, axis, scratch)])


def _open(path: Path, axis: FeatureAxis, scratch: Callable[[], Path]) -> list[FeatureSource]:
    if not path.exists():
        raise ConfigError(f"features={path}: no such file or folder")
    if not path.is_dir():
        return [_recognise(path).open(path, axis, scratch)]
    shards = sorted(
        file for file in path.iterdir() if file.suffix in SHARD_SUFFIXES and _format_of(_head(file)) is not None
    )
    arrays = sorted(path.glob("*.np[yz]"))
    if not shards and arrays and all(_has_ids(file) for file in arrays):
        shards = arrays
    if not shards:
        return [open_image_folder(path, axis, scratch)]
    return [_recognise(file).open(file, axis, scratch) for file in shards]


def _has_ids(path: Path) -> bool:
    return path.with_name(f"{path.stem}_ids.txt").is_file()


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        return head if LINE_END in head else head + file.readline(LONGEST_LINE)


def _format_of(head: bytes) -> FeatureFormat | None:
    return next((each for each in FORMATS if each.matches(head)), None)


def _recognise(path: Path) -> FeatureFormat:
    head = _head(path)
    found = _format_of(head)
    if found is not None:
        return found
    advice = f"allowed: {', '.join(each.name for each in FORMATS)}, or a folder with one .npy or .npz file per image"
    if head.startswith((b"\x80", b"PK\x03\x04")):
        advice = (
            "it looks like a pickle or a torch file, which can run code when it is read and is never loaded; write the "
            "features as .npy or .npz: np.savez(path, features=…, ids=…)"
        )
    elif TAB in (line := head.split(LINE_END)[0]):
        advice = f"its first line has {len(line.split(TAB))} fields, a bottom-up-attention TSV has: {', '.join(FIELDS)}"
    raise DataFormatError(f"features={path}: the format is not known; {advice}")
