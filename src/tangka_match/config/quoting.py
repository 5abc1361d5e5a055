r"""Quotes around values of a command line, where Hydra would read them otherwise than they were typed.

Hydra reads ``2024`` as a number, ``true`` as a boolean, and accepts non-ASCII text and ``= , # ' [ {`` in quotes only.
"""

import re
import shlex
from pathlib import Path

TEXT_SETTINGS = frozenset(
    {
        *("name", "tags", "resume", "init_from", "training.monitor", "distillation.teachers"),
        *("paths.data", "paths.runs", "paths.checkpoints", "logger.project", "logger.entity"),
        *("data.root", "data.exclude", "data.vocabulary_path", "data.word_vectors_path"),
        *("data.tokenizer.source", "data.tokenizer.user_dictionaries", "model.text_model"),
        *("checkpoint", "similarity", "ids", "split", "out", "device", "hubness", "bank.split"),
        *("a", "b", "tables", "run", "folds", "curve.experiment", "curve.overrides"),
        *("runs", "show", "tag", "of_sweep", "sort"),
        *("entity", "project", "title", "groupby", "objective", "logarithmic"),
        *("features", "captions", "encoding", "splits", "columns.image", "columns.text", "columns.split"),
        *("query", "queries", "rerank", "host", "allowed_hosts", "index.folder", "index.uri", "index.token"),
        *("clip", "images", "source", "vocab", "mapping"),
    }
)
"""Settings of all commands that hold text or a path."""

SEVERAL_VALUES = re.compile(r"[\[{]|\w+\(|[^,]*,")  # a list, a dict, a Hydra function, or the values of a sweep
ONE_VALUE = re.compile(r"[^\s,\[\]{}():](?:[^,\[\]{}():]*[^\s,\[\]{}():])?")
INTERPOLATION = re.compile(r"(\\*)\$\{")  # each backslash before it counts twice
BEFORE_QUOTE = re.compile(r"(\\+)(?='|\Z)")
NUMBER_OR_BOOLEAN = re.compile(r"[+-]?(?:[\d_]+\.?[\d_]*|\.[\d_]+)(?:e[+-]?[\d_]+)?|[+-]?(?:inf|nan)|true|false", re.I)


def quote_as_typed(override: str) -> str:
    """Quote the values of an override that Hydra would refuse or read otherwise.

    These are values that are not ASCII, and numbers and booleans where a setting holds text. ``null`` stays null.
    Values that already have quotes stay unchanged.

    >>> quote_as_typed("data.root=/数据/唐卡 (1)"), quote_as_typed("tags=[唐卡 一,2024]"), quote_as_typed("seed=3")
    ("data.root='/数据/唐卡 (1)'", "tags=['唐卡 一','2024']", 'seed=3')
    """
    name, equals, value = override.partition("=")
    if override.startswith("-") or not equals or "'" in value or '"' in value:
        return override
    is_text = name.lstrip("+") in TEXT_SETTINGS

    def must_be_quoted(text: str) -> bool:
        return not text.isascii() or (is_text and NUMBER_OR_BOOLEAN.fullmatch(text) is not None)

    if SEVERAL_VALUES.match(value):
        quoted = ONE_VALUE.sub(lambda found: _in_quotes(found[0]) if must_be_quoted(found[0]) else found[0], value)
    else:
        quoted = _in_quotes(value) if must_be_quoted(value) else value
    return f"{name}={quoted}"


def _in_quotes(text: str) -> str:
    """Put a text without quotes in quotes; a backslash at its end would escape the closing one."""
    escaped = BEFORE_QUOTE.sub(r"\1\1", text)
    return f"'{escaped}'"


def quote_verbatim(override: str) -> str:
    r"""Quote the value of an override so that Hydra and OmegaConf return it unchanged, whatever it contains.

    >>> print(quote_verbatim("query=莲花, 'red' [${x}]"))
    query='莲花, \'red\' [\${x}]'
    """
    name, _, value = override.partition("=")
    value = INTERPOLATION.sub(r"\1\1\\${", value)
    value = BEFORE_QUOTE.sub(r"\1\1", value).replace("'", r"\'")
    return f"{name}='{value}'"


def quoted_for_the_shell(override: str) -> str:
    r"""Return an override as it must be typed in a shell for its value to be taken as text; ``~/`` is expanded.

    >>> print(quoted_for_the_shell("data.root=/a,b"))
    "data.root='/a,b'"
    """
    name, _, value = override.partition("=")
    if value.startswith("~/"):
        value = str(Path(value).expanduser())
    quoted = quote_verbatim(f"{name}={value}")
    plain = not set(quoted) & set('"$`\\!')
    return f'"{quoted}"' if plain else shlex.quote(quoted)
