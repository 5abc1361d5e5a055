"""JSON and YAML files that are read back from disk, in bounded time and memory whatever they hold.

A damaged or hostile file may be nested so deeply that a parser overflows the stack, hold integers with more digits than
Python converts, or repeat a part through aliases until it is larger than the memory. Such files are refused, never
partly read.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from tangka_match.errors import DataFormatError

MAX_BYTES = 1 << 20
"""Largest file that is read. Those that are written have a few kilobytes."""
MAX_DEPTH = 50
"""Most levels of mappings and lists in each other."""
MAX_UNCHECKED_LINE = 1000
"""Longest line of YAML that is parsed unchecked: nesting without brackets takes at least one column per level."""
MAX_INTEGER = 2**63
# The C parser is ten times as fast, but some builds of PyYAML lack it.
YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_mapping(path: Path, schema: TypeAdapter[Any] | None = None) -> dict[str, Any]:
    """Read a JSON or YAML file that holds a mapping.

    Args:
        path: A ``.json`` file, or YAML.
        schema: Schema that the mapping must fit; ``None`` accepts any.

    Raises:
        FileNotFoundError: If there is no such file.
        DataFormatError: If the file cannot be read, is too large or too deep, or does not fit; the message begins with
            its name.
    """
    try:
        content = _parse(path)
        if schema is not None:
            content = schema.validate_python(content)
    except FileNotFoundError:
        raise
    except ValidationError as error:
        raise DataFormatError(f"{path.name}: {fault_of(error)}") from error
    except OSError as error:
        raise DataFormatError(f"{path.name}: {error.strerror}") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise DataFormatError(f"{path.name}: {(str(error) or type(error).__name__).splitlines()[0]}") from error
    return content


def parse_yaml(text: str) -> Any:
    """Parse YAML of bounded depth without aliases; see `read_mapping`.

    Raises:
        ValueError: If it is nested too deeply, or holds an alias or a value that JSON lacks.
        yaml.YAMLError: If it is not YAML.
    """
    # The C parser recurses into nested lists without a limit, and merging aliases can take exponential time.
    has_aliases = "*" in text or "&" in text
    may_be_deep = text.count("[") + text.count("{") > MAX_DEPTH
    if has_aliases or may_be_deep or any(len(line) > MAX_UNCHECKED_LINE for line in text.splitlines()):
        _check_events(text)
    return _plain(yaml.load(text, YamlLoader))  # noqa: S506 - a safe one


def fault_of(error: ValidationError) -> str:
    """Describe the first fault that a schema found.

    >>> try:
    ...     TypeAdapter(dict[str, int]).validate_python({"seed": "one"})
    ... except ValidationError as error:
    ...     fault_of(error)
    "seed='one': Input should be a valid integer, unable to parse string as an integer"
    """
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(map(str, first["loc"]))
    return f"{name}={str(first['input'])[:40]!r}: {first['msg']}" if name else str(first["msg"])


def _parse(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        found = file.read(MAX_BYTES + 1)
    if len(found) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES:,} bytes")
    text = found.decode("utf-8")
    content = _plain(json.loads(text)) if path.suffix == ".json" else parse_yaml(text)
    if not isinstance(content, dict):
        raise ValueError("not a mapping")
    return content


def _check_events(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, YamlLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("holds an alias; write the value itself")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels")


def _plain(node: Any, depth: int = 0) -> Any:
    """Check depth, keys and leaves; dates, which only YAML has, become text."""
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    if isinstance(node, dict):
        if not all(isinstance(key, str) for key in node) and not all(isinstance(key, int) for key in node):
            raise ValueError("keys must be text")
        return {key: _plain(value, depth + 1) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(item, depth + 1) for item in node]
    if isinstance(node, date):
        return node.isoformat()
    if isinstance(node, int) and abs(node) >= MAX_INTEGER:
        raise ValueError("an integer of more than 64 bits")
    if node is not None and not isinstance(node, str | int | float):
        raise ValueError(f"holds {type(node).__name__}, which is neither text nor a number")
    return node
