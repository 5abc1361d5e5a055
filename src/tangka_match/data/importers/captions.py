"""Recognise the format of caption files by their content."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tangka_match.data.importers import caption_json, caption_lists, caption_tables
from tangka_match.data.importers.caption_tables import Columns
from tangka_match.data.importers.caption_text import (
    CaptionedImage,
    Row,
    collect,
    first_lines,
    read_text,
    split_of_file,
)
from tangka_match.errors import ConfigError, DataFormatError

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".txt", ".token")
PICTURES_SUFFIX, TEXTS_SUFFIX = "_imgs.tsv", "_texts.jsonl"


class JsonFormat(NamedTuple):
    """Format of a JSON document.

    Attributes:
        name: Name for people.
        matches: Whether a document has this format.
        read: Reader.
    """

    name: str
    matches: Callable[[Any], bool]
    read: Callable[[Any, str, Columns], Iterable[Row]]


class TextFormat(NamedTuple):
    """Format of a text file.

    Attributes:
        name: Name for people.
        matches: Whether the first lines have this format.
        read: Reader of the whole text.
    """

    name: str
    matches: Callable[[Sequence[str], Columns], bool]
    read: Callable[[str, str, Columns], Iterable[Row]]


JSON_FORMATS = (
    JsonFormat("Karpathy's dataset.json", caption_json.is_karpathy, lambda c, w, _: caption_json.read_karpathy(c, w)),
    JsonFormat("COCO captions", caption_json.is_coco, lambda c, w, _: caption_json.read_coco(c, w)),
    JsonFormat("JSON list", caption_json.is_objects, caption_json.read_objects),
)
TEXT_FORMATS = (
    TextFormat(
        "Chinese-CLIP texts",
        lambda lines, _: caption_json.is_image_ids(lines),
        lambda text, where, _: caption_json.read_image_ids(text, where),
    ),
    TextFormat(
        "JSON lines",
        lambda lines, _: caption_json.is_lines(lines),
        lambda text, where, columns: caption_json.read_objects(caption_json.parse_lines(text, where), where, columns),
    ),
    TextFormat(
        "image#number caption",
        lambda lines, _: caption_lists.is_numbered(lines),
        lambda text, where, _: caption_lists.read_numbered(text, where),
    ),
    TextFormat("table", caption_tables.is_table, caption_tables.read_table),
    TextFormat(
        "image<tab>caption",
        lambda lines, _: caption_lists.is_plain(lines),
        lambda text, where, _: caption_lists.read_plain(text, where),
    ),
)


class Captions(NamedTuple):
    """Captions of a data set.

    Attributes:
        kind: Format in words.
        files: Files they were read from.
        images: Images with their captions, in the order in which they first occur.
    """

    kind: str
    files: list[Path]
    images: list[CaptionedImage]


def read_captions(paths: Sequence[Path], columns: Columns, encoding: str) -> Captions:
    """Read caption files.

    Args:
        paths: Files, or folders whose caption files are read. If there are several, and no file says the splits, the
            file names do (``train.csv``, ``valid_texts.jsonl``).
        columns: Columns of tables and fields of JSON objects.
        encoding: Encoding of text files without a byte order mark.

    Raises:
        ConfigError: If a path does not exist, or a column that the user named is missing.
        DataFormatError: If a format is unknown or a file is damaged.
    """
    files = [file for path in paths for file in _files(path)]
    kinds, images = [], []
    for file in files:
        kind, found = _read(file, columns, encoding)
        kinds.append(kind)
        images.append(found)
    splits = [split_of_file(file) for file in files]
    if len(files) > 1 and all(splits) and all(image.split is None for found in images for image in found):
        images = [[replace(image, split=split) for image in found] for found, split in zip(images, splits, strict=True)]
    rows = (
        Row(image.names, caption, image.split)
        for found in images
        for image in found
        for caption in image.captions or [""]
    )
    where = ", ".join(map(str, files))
    collected = collect(rows, f"captions={where}")
    if not any(image.captions for image in collected):
        raise DataFormatError(f"captions={where}: no caption found")
    return Captions(" and ".join(dict.fromkeys(kinds)), files, collected)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise ConfigError(f"captions={path}: no such file or folder")
    texts = path.with_name(path.name.removesuffix(PICTURES_SUFFIX) + TEXTS_SUFFIX)
    if path.name.endswith(PICTURES_SUFFIX) and texts.is_file():
        return [texts]
    if not path.is_dir():
        return [path]
    found = sorted(
        file
        for file in path.iterdir()
        if file.suffix in SUFFIXES and not file.name.endswith(PICTURES_SUFFIX) and not file.name.startswith(".")
    )
    chinese_clip = [file for file in found if file.name.endswith(TEXTS_SUFFIX)]
    if not found:
        raise ConfigError(f"captions={path}: no caption file there ({', '.join(SUFFIXES)})")
    return chinese_clip or found


def _read(path: Path, columns: Columns, encoding: str) -> tuple[str, list[CaptionedImage]]:
    where = f"captions={path}"
    text = read_text(path, encoding)
    lines = first_lines(text)
    if not lines:
        raise DataFormatError(f"{where}: the file is empty")
    if lines[0][0] in "[{" and (len(lines) == 1 or not caption_json.is_lines(lines)):
        content = caption_json.parse(text, where)
        document = next((each for each in JSON_FORMATS if each.matches(content)), None)
        if document is not None:
            return document.name, collect(document.read(content, where, columns), where)
    found = next((each for each in TEXT_FORMATS if each.matches(lines, columns)), None)
    if found is None:
        known = ", ".join(each.name for each in (*JSON_FORMATS, *TEXT_FORMATS))
        raise DataFormatError(
            f"{where}: the format is not known; its first line is {lines[0][:80]!r}. Allowed: {known}. For a table, "
            "set columns.image=<name> and columns.text=<name>"
        )
    return found.name, collect(found.read(text, where, columns), where)
