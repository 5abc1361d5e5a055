"""A file has at most 400 lines, and a function at most 60, from ``def`` to its end with docstring."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_LINES, FUNCTION_LINES = 400, 60


def too_long(text):
    """Find files and functions that exceed a limit, with their number of lines."""
    found = [("the file", len(text.splitlines()))] if len(text.splitlines()) > FILE_LINES else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES:
                found.append((f"{node.name}, line {node.lineno}", lines))
    return found


def function(lines, opening="def f():"):
    return "\n".join(["@decorated", opening, "    '''One.", "    '''", *["    pass"] * (lines - 3)])


@pytest.mark.parametrize("opening", ["def f():", "async def f():"])
def test_functions_count_from_def_to_end(opening):
    assert too_long(function(FUNCTION_LINES, opening)) == []
    assert too_long(function(FUNCTION_LINES + 1, opening)) == [("f, line 2", FUNCTION_LINES + 1)]


def test_methods_are_counted():
    text = "class A:\n" + "\n".join(f"    {line}" for line in function(FUNCTION_LINES + 1).splitlines())
    assert too_long(text) == [("f, line 3", FUNCTION_LINES + 1)]


def test_files_are_counted():
    assert too_long("a = 1\n" * FILE_LINES) == []
    assert too_long("a = 1\n" * (FILE_LINES + 1)) == [("the file", FILE_LINES + 1)]


@pytest.mark.parametrize("folder", ["src", "tests", "experiments"])
def test_no_file_or_function_exceeds_the_limits(folder):
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    over = {str(path.relative_to(ROOT)): found for path in paths if (found := too_long(path.read_text("utf-8")))}
    assert over == {}
