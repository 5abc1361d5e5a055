r"""Quotes around values of a command line, where Hydra would read them otherwise than they were typed.

Hydra reads ``2024`` as a number, ``true`` as a boolean, and accepts non-ASCII text and ``= , # ' [ {`` in quotes only.
"""

import re
import shlex
from pathlib import Path

TEXT_SETTINGS = frozenset(
    {
        *("name", "tags", "resume", "init_from", "training.monitor"),
        *("distillation.teachers", "distillation.text_model", "distillation.text_prefix"),
        *("paths.data", "paths.runs", "paths.checkpoints", "logger.project", "logger.entity"),
        *("data.root", "data.exclude", "data.vocabulary_path", "data.word_vectors_path"),
        *("data.tokenizer.source", "data.tokenizer.user_dictionaries", "model.text_model"),
        *("checkpoint", "similarity", "ids", "split", "out", "device", "hubness", "bank.split"),
        *("a", "b", "tables", "run", "folds", "curve.experiment", "curve.overrides"),
        *("runs", "show", "tag", "of_sweep", "sort"),
        *("entity", "project", "title", "groupby", "objective", "logarithmic"),
        *("features", "captions", "encoding", "splits", "columns.image", "columns.text", "columns.split"),
        *("query", "queries", "rerank", "host", "allowed_hosts", "index.folder", "index.uri", "index.token"),
        *("encoder", "clip", "images", "source", "vocab", "text_model", "mapping"),
    }
)
"""Settings of all commands that hold text or a path."""

FUNCTION = re.compile(
    r"(?P<name>choice|range|interval|glob|sort|shuffle|tag|extend_list|int|float|str|bool|json_str)\((?P<inner>.*)\)",
    re.DOTALL,
)
"""Call of a function of Hydra."""
INTERPOLATION = re.compile(r"(\\*)\$\{")  # each backslash before it counts twice
BEFORE_QUOTE = re.compile(r"(\\+)(?='|\Z)")
NUMBER_OR_BOOLEAN = re.compile(r"[+-]?(?:[\d_]+\.?[\d_]*|\.[\d_]+)(?:e[+-]?[\d_]+)?|[+-]?(?:inf|nan)|true|false", re.I)


def quote_as_typed(override: str) -> str:
    """Quote the values of an override that Hydra would refuse or read otherwise.

    These are values that are not ASCII, and numbers and booleans where a setting holds text. ``null`` stays null, and
    ``None``, as Python and the agents of W&B write it, becomes null. Values that already have quotes stay unchanged.

    >>> quote_as_typed("data.root=/数据/唐卡 (1)"), quote_as_typed("tags=[唐卡(1),2024]"), quote_as_typed("seed=3")
    ("data.root='/数据/唐卡 (1)'", "tags=['唐卡(1)','2024']", 'seed=3')
    """
    name, equals, value = override.partition("=")
    if override.startswith("-") or not equals:
        return override
    is_text = name.lstrip("+") in TEXT_SETTINGS
    choice = FUNCTION.fullmatch(value)
    if choice and choice["name"] == "choice" and {"null", "None"} & {part.strip() for part in _split(choice["inner"])}:
        value = choice["inner"]  # Hydra's `choice` refuses null, which its list of values takes
    return f"{name}={','.join(_quoted(part, is_text=is_text) for part in _split(value))}"


def _quoted(text: str, *, is_text: bool) -> str:
    """Quote one value of an override, or the values in a list, a dict or the call of a function."""
    value = text.strip()
    call = FUNCTION.fullmatch(value)
    if value == "None":
        quoted = "null"
    elif call or (value[:1], value[-1:]) in (("[", "]"), ("{", "}")):
        begin, inner, end = (f"{call['name']}(", call["inner"], ")") if call else (value[0], value[1:-1], value[-1])
        parts = [[_quoted(v, is_text=is_text) for v in _split(p, ":" if begin == "{" else "")] for p in _split(inner)]
        quoted = begin + ",".join(":".join(part) for part in parts) + end
    elif "'" in value or '"' in value:
        return text
    elif not value.isascii() or (is_text and NUMBER_OR_BOOLEAN.fullmatch(value)):
        quoted = _in_quotes(value)
    else:
        return text
    return text.replace(value, quoted, 1)


def _split(text: str, separator: str = ",") -> list[str]:
    """Split a text at a separator outside quotes, brackets and parentheses; an empty separator does not split it."""
    parts, begin, depth, quote = [], 0, 0, ""
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and text[position - 1] != "\\" else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth = max(0, depth - 1)
        elif letter == separator and depth == 0:
            parts.append(text[begin:position])
            begin = position + 1
    return [*parts, text[begin:]]


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
