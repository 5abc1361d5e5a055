"""JavaScript modules of this package, bundled into the single script of a self-contained page."""

import posixpath
import re

from tangka_match.analysis.html_page import resource

IMPORT = re.compile(r'^import \{[^}]*\} from "(\.{1,2}/[a-z_./]+)\.js";\n', re.MULTILINE)
EXPORT_WORD = re.compile(r"^export (?=const |function )", re.MULTILINE)
EXPORT = re.compile(r"^export (?:const|function) (\w+)", re.MULTILINE)


def bundle(entry: str) -> str:
    """Bundle a JavaScript module and its imports into a single script, in order of dependency.

    A page opened from disk cannot import files. Each module becomes a function that returns its exports, so only
    exported names must be unique. A module must write ``import { name } from "./file.js";`` on one line, and ``export``
    in front of a ``const`` or ``function``.

    Args:
        entry: Entry module below ``tangka_match.analysis``, without ``.js``, such as ``report/main``.
    """
    parts: dict[str, str] = {}

    def add(name: str) -> None:
        source = resource(f"{name}.js")
        for relative in IMPORT.findall(source):
            needed = posixpath.normpath(posixpath.join(posixpath.dirname(name), relative))
            if needed not in parts:
                add(needed)
        exports = ", ".join(EXPORT.findall(source))
        code = EXPORT_WORD.sub("", IMPORT.sub("", source))
        parts[name] = f"const {{ {exports} }} = (() => {{\n{code}return {{ {exports} }};\n}})();\n"

    add(entry)
    return "".join(parts.values())
