"""Tables of captions with a header line: CSV, TSV, or with semicolons."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tangka_match.data.importers.caption_text import Row
from tangka_match.errors import ConfigError, DataFormatError

DELIMITERS = ("\t", ",", ";", "|")


class Columns(NamedTuple):
    """Names of the columns or fields to read.

    Attributes:
        image: Image file or id; ``None`` looks for a usual name.
        text: Caption; ``None`` looks for a usual name.
        split: Split; ``None`` looks for ``split``.
    """

    image: str | None = None
    text: str | None = None
    split: str | None = None


USUAL = {
    "image": (
        *("image", "filename", "file_name", "image_name", "image_file", "image_path", "filepath", "img", "img_name"),
        *("image_id", "img_id", "imgid", "id", "path", "图片", "图像", "文件名", "图片名", "圖片", "檔名"),
    ),
    "text": (
        *("caption", "captions", "text", "sentence", "sentences", "description", "raw", "comment", "caption_zh"),
        *("描述", "标题", "文本", "文字", "说明", "句子", "标注", "說明"),
    ),
    "split": ("split", "set", "subset", "划分"),
}


def choose(names: Sequence[str], columns: Columns, where: str) -> tuple[str, str, str | None]:
    """Choose the columns of image, text and split among those of a file.

    Raises:
        ConfigError: If a column that the user named is missing.
        DataFormatError: If none has a usual name.
    """
    found: dict[str, str | None] = {}
    lower = {name.strip().lower(): name for name in names}
    for role, usual in USUAL.items():
        wanted = getattr(columns, role)
        if wanted is not None and wanted not in names:
            raise ConfigError(f"columns.{role}={wanted}: {where} has no such column; found: {', '.join(names)}")
        found[role] = wanted or next((lower[name] for name in usual if name in lower), None)
    missing = [role for role in ("image", "text") if found[role] is None]
    if missing:
        settings = " ".join(f"columns.{role}=<name>" for role in missing)
        raise DataFormatError(
            f"{where}: which column is the {' and the '.join(missing)}? Set {settings}; found: {', '.join(names)}"
        )
    assert found["image"] is not None
    assert found["text"] is not None
    return found["image"], found["text"], found["split"]


def delimiter_of(line: str) -> str | None:
    """Return the delimiter of a header line; ``None`` if it has one column.

    >>> delimiter_of("filename,描述,split"), delimiter_of("一个男人")
    (',', None)
    """
    best = max(DELIMITERS, key=lambda each: len(next(csv.reader([line], delimiter=each), [])))
    return best if best in line else None


def is_table(lines: Sequence[str], columns: Columns) -> bool:
    """Whether the first line is a header with the named or usual columns, and the others have as many fields."""
    delimiter = delimiter_of(lines[0]) if lines else None
    if delimiter is None:
        return False
    names = [name.strip() for name in next(csv.reader([lines[0]], delimiter=delimiter))]
    if columns.image in names or columns.text in names:
        return True
    lower = {name.lower() for name in names}
    return all(lower & set(USUAL[role]) for role in ("image", "text"))


def read_table(text: str, where: str, columns: Columns) -> Iterator[Row]:
    """Read a table with a header line; a quoted caption may hold line breaks.

    Raises:
        ConfigError: If a column that the user named is missing.
        DataFormatError: If a row has another number of fields, or no image.
    """
    header = text.partition("\n")[0].strip("\r")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(header) or ",")
    names = [name.strip() for name in next(reader)]
    image, caption, split = choose(names, columns, where)
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(names):
                raise DataFormatError(
                    f"{where}: line {reader.line_num} has {len(fields)} fields, the header has {len(names)}; put "
                    'captions that hold the delimiter into quotes ("…")'
                )
            row = dict(zip(names, fields, strict=True))
            yield row_of(row, (image, caption, split), f"{where}: line {reader.line_num}")
    except csv.Error as error:
        raise DataFormatError(f"{where}: line {reader.line_num}: {error}") from error


def row_of(row: Mapping[str, str], chosen: tuple[str, str, str | None], where: str) -> Row:
    """Return the caption of a table row.

    Raises:
        DataFormatError: If the image is empty.
    """
    image, text, split = chosen
    if not row[image].strip():
        raise DataFormatError(f"{where}: {image} is empty; every caption needs its image")
    return Row((row[image].strip(),), row[text], row[split] if split is not None and row[split].strip() else None)
