"""Faults of the files in ``conf/`` that Hydra passes over in silence, or reports without their place."""

from contextlib import suppress
from pathlib import Path

from hydra.plugins.config_source import ConfigSource
from yaml import YAMLError
from yaml.error import MarkedYAMLError

from tangka_match.errors import ConfigError

HEADER = "# @package _global_"
BYTE_ORDER_MARK = "\ufeff"
HYDRA_READS = 512
"""Characters at the start of a file in which Hydra looks for the header."""


def check_chosen_files(folder: Path, words: list[str]) -> None:
    """Check the files that ``group=name`` chooses on a command line, before Hydra reads them.

    An experiment without its header, or with a byte order mark before it, would have no effect.

    Args:
        folder: Path of ``conf/``.
        words: Arguments of the command line.

    Raises:
        ConfigError: If a file is not UTF-8, or an experiment does not begin with its header.
    """
    for word in words:
        group, equals, names = word.lstrip("+").partition("=")
        for name in names.strip("[]").split(",") if equals else []:
            path = folder / group / f"{name.strip()}.yaml"
            with suppress(OSError):  # no file has a name of thousands of characters
                if group and path.is_file():
                    _check(path, is_experiment=group == "experiment")


def _check(path: Path, *, is_experiment: bool) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8; save it as UTF-8 without a byte order mark") from error
    if not is_experiment:
        return
    if text.startswith(BYTE_ORDER_MARK):
        raise ConfigError(
            f"{path}, line 1: a byte order mark hides the header, so its settings would have no effect; save the file "
            "as UTF-8 without a byte order mark"
        )
    if _package(text) != "_global_":
        raise ConfigError(
            f"{path}, line 1: the header {HEADER!r} is missing, so its settings would have no effect; make it the "
            "first line, before any comment"
        )


def _package(text: str) -> str | None:
    """Return the package that Hydra finds in the header of a file; ``None`` if it finds none."""
    try:
        return ConfigSource._get_header_dict(text[:HYDRA_READS]).get("package")
    except ValueError:  # a header of one word, or of three
        return None


def explain_yaml(error: YAMLError) -> str:
    """Describe a file that is not YAML in one line, with file, line and column."""
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    if not isinstance(error, MarkedYAMLError) or mark is None:
        return f"a config file cannot be read as YAML ({' '.join(str(error).split())})"
    problem = str(error.problem or error.context)
    if problem.startswith("found duplicate key"):
        problem = f"{problem.removeprefix('found duplicate key ')} is set twice; remove one of the two lines"
    elif "\\t" in problem:
        problem = "a tab; indent with spaces"
    else:
        problem = f"cannot be read as YAML ({problem})"
    return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: {problem}"
