"""The page: scripts and styles of this folder around the data of a report."""

import re
from pathlib import Path

from tangka_match.analysis.html_page import html_page, resource
from tangka_match.analysis.report.payload import Report, report_blocks
from tangka_match.errors import ConfigError

GENERATOR = "tangka_match.report"
IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z_]+)\.js";\n', re.MULTILINE)
EXPORT_WORD = re.compile(r"^export (?=const |function )", re.MULTILINE)
EXPORT = re.compile(r"^export (?:const|function) (\w+)", re.MULTILINE)
NO_SCRIPT = "<noscript><main><h1>tangka_match</h1><p>This page is drawn by its own script: allow JavaScript. "
NO_SCRIPT += "本页面由自带脚本绘制，请允许 JavaScript。</p></main></noscript>"


def check_out(out: Path) -> None:
    """Make sure that a page may be written: to a new file, or over an earlier report.

    Raises:
        ConfigError: If ``out`` is a folder or another file.
    """
    if out.is_dir():
        raise ConfigError(f"out={out} is a folder; give a file, such as out={out / 'report.html'}")
    if out.exists() and GENERATOR not in out.read_text(encoding="utf-8", errors="replace")[:400]:
        raise ConfigError(f"out={out} is not a report, and nothing else is overwritten: give another file")


def write_report(report: Report, out: Path) -> None:
    """Write the page; it is whole or not there.

    Args:
        report: To be drawn.
        out: The file.
    """
    title = f"tangka_match: {report.root.absolute().name}"
    page = html_page(
        title,
        f'{NO_SCRIPT}<div id="page"></div>',
        resource("report/report.css"),
        script=bundle("main"),
        data=report_blocks(report, out),
        generator=GENERATOR,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".partial-{out.name}")
    partial.write_text(page, encoding="utf-8")
    partial.replace(out)


def bundle(entry: str) -> str:
    """Join a module and all that it imports into one, each before those that need it.

    A page opened by double-click cannot import files. Each module becomes a function that returns what it exports, so
    that only exported names have to differ. A module writes ``import { name } from "./file.js";`` on one line, and
    ``export`` before a ``const`` or ``function``.

    Args:
        entry: Name of the module, without ``.js``.
    """
    parts: dict[str, str] = {}

    def add(name: str) -> None:
        source = resource(f"report/{name}.js")
        for needed in IMPORT.findall(source):
            if needed not in parts:
                add(needed)
        given = ", ".join(EXPORT.findall(source))
        code = EXPORT_WORD.sub("", IMPORT.sub("", source))
        parts[name] = f"const {{ {given} }} = (() => {{\n{code}return {{ {given} }};\n}})();\n"

    add(entry)
    return "".join(parts.values())
