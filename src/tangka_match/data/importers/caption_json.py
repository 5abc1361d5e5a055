"""Captions in JSON: Karpathy's ``dataset.json``, COCO captions, lists and lines of objects, Chinese-CLIP and MUGE."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tangka_match.data.importers.caption_tables import Columns, choose
from tangka_match.data.importers.caption_text import Row
from tangka_match.errors import DataFormatError


def parse(text: str, where: str) -> Any:
    """Parse a JSON document.

    Raises:
        DataFormatError: If it is damaged.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataFormatError(f"{where}: not readable as JSON ({error}); copy the file again") from error


def is_karpathy(content: Any) -> bool:
    """Whether a document is Karpathy's: ``images`` that hold ``sentences``."""
    return _first_of(content, "images", "sentences") is not None


def is_coco(content: Any) -> bool:
    """Whether a document is COCO captions: ``annotations`` with ``image_id`` and ``caption``."""
    return _first_of(content, "annotations", "image_id", "caption") is not None


def is_objects(content: Any) -> bool:
    """Whether a document is a list of objects."""
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict)


def read_karpathy(content: Any, where: str) -> Iterator[Row]:
    """Read Karpathy's ``dataset.json``: filename, split, sentences[].raw, and cocoid and imgid as further names."""
    for number, image in enumerate(content["images"]):
        at = f"{where}: images[{number}]"
        names = (_text(image, "filename", at), *(str(image[key]) for key in ("cocoid", "imgid") if key in image))
        sentences = image.get("sentences")
        if not isinstance(sentences, list):
            raise DataFormatError(f"{at}: sentences is {type(sentences).__name__}, expected a list")
        split = image.get("split")
        for sentence in sentences:
            raw = _field(sentence, "raw", at)
            yield Row(names, raw if isinstance(raw, str) else "", split)
        if not sentences:
            yield Row(names, "", split)


def read_coco(content: Any, where: str) -> Iterator[Row]:
    """Read COCO captions: images[].id and file_name, annotations[].image_id and caption."""
    names: dict[str, tuple[str, ...]] = {}
    for number, image in enumerate(content.get("images", [])):
        at = f"{where}: images[{number}]"
        image_id = str(_field(image, "id", at))
        names[image_id] = (str(image["file_name"]), image_id) if image.get("file_name") else (image_id,)
        yield Row(names[image_id], "", None)
    for number, annotation in enumerate(content["annotations"]):
        at = f"{where}: annotations[{number}]"
        image_id = str(_field(annotation, "image_id", at))
        yield Row(names.get(image_id, (image_id,)), _text(annotation, "caption", at), None)


def read_objects(objects: Sequence[Any], where: str, columns: Columns) -> Iterator[Row]:
    """Read objects with an image and a caption or a list of captions; AI Challenger's list is one of them.

    Raises:
        ConfigError: If a field that the user named is missing.
        DataFormatError: If an object lacks a field.
    """
    if not isinstance(objects[0], dict):
        raise DataFormatError(f"{where}: the first line is {objects[0]!r}; expected one object per caption or image")
    chosen = choose(list(objects[0]), columns, where)
    for number, entry in enumerate(objects, 1):
        yield from _captions(entry, chosen, f"{where}: object {number}")


def _captions(entry: Any, chosen: tuple[str, str, str | None], where: str) -> Iterator[Row]:
    image, text, split_field = chosen
    name, captions = str(_field(entry, image, where)).strip(), _field(entry, text, where)
    if not name:
        raise DataFormatError(f"{where}: {image} is empty; every caption needs its image")
    split = None if split_field is None or not entry.get(split_field) else str(entry[split_field])
    for caption in captions if isinstance(captions, list) else [captions]:
        if not isinstance(caption, str):
            raise DataFormatError(f"{where}: {text} is {caption!r}; expected text, or a list of texts")
        yield Row((name,), caption, split)


def is_image_ids(lines: Sequence[str]) -> bool:
    """Whether lines are those of ``_texts.jsonl`` of Chinese-CLIP and MUGE: text and image_ids."""
    try:
        first = json.loads(lines[0]) if lines else None
    except ValueError:
        return False
    return isinstance(first, dict) and {"text", "image_ids"} <= set(first)


def is_lines(lines: Sequence[str]) -> bool:
    """Whether every line is a JSON object."""
    return bool(lines) and all(line.startswith("{") and line.endswith("}") for line in lines)


def read_image_ids(text: str, where: str) -> Iterator[Row]:
    """Read ``_texts.jsonl``: text_id, text, image_ids; a text with several images is a caption of each of them."""
    for number, entry in enumerate(parse_lines(text, where), 1):
        at = f"{where}: object {number}"
        for image in _field(entry, "image_ids", at):
            yield Row((str(image),), _text(entry, "text", at), None)


def parse_lines(text: str, where: str) -> list[Any]:
    """Parse JSON lines.

    Raises:
        DataFormatError: If a line is damaged.
    """
    return [parse(line, f"{where}: line {number}") for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _first_of(content: Any, key: str, *fields: str) -> Mapping[str, Any] | None:
    entries = content.get(key) if isinstance(content, dict) else None
    first = entries[0] if isinstance(entries, list) and entries else None
    return first if isinstance(first, dict) and set(fields) <= set(first) else None


def _field(entry: Any, key: str, where: str) -> Any:
    if not isinstance(entry, dict) or key not in entry:
        found = ", ".join(entry) if isinstance(entry, dict) else repr(entry)[:80]
        raise DataFormatError(f"{where} has no {key}; found: {found}")
    return entry[key]


def _text(entry: Any, key: str, where: str) -> str:
    value = _field(entry, key, where)
    if not isinstance(value, str):
        raise DataFormatError(f"{where}: {key} is {value!r}; expected text")
    return value
