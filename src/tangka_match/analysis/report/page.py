"""Write the report page: the scripts and styles of this folder, with the data of a report.

Separate from payload.py, which handles data only: this module reads and writes files.
"""

from pathlib import Path

from tangka_match.analysis.html_page import html_page, resource
from tangka_match.analysis.report.payload import Report, report_blocks
from tangka_match.analysis.script_bundle import bundle
from tangka_match.errors import ConfigError
from tangka_match.files import write_text_completely

GENERATOR = "tangka_match.report"
NO_SCRIPT = (
    "<noscript><main><h1>tangka_match</h1><p>This page needs JavaScript; please enable it. "
    "本页面需要 JavaScript，请在浏览器中启用。</p></main></noscript>"
)


def check_out(out: Path) -> None:
    """Check that a report may be written to ``out``: a new file, or an earlier report.

    Raises:
        ConfigError: If ``out`` is a folder or another kind of file.
    """
    if out.is_dir():
        raise ConfigError(f"out={out} is a folder; choose a file, such as out={out / 'report.html'}")
    if out.exists() and GENERATOR not in out.read_text(encoding="utf-8", errors="replace")[:400]:
        raise ConfigError(f"out={out} is not a report and is not overwritten; choose another file")


def write_report(report: Report, out: Path) -> None:
    """Write the page.

    Args:
        report: Content of the page.
        out: HTML file.
    """
    title = f"tangka_match: {report.root.absolute().name}"
    page = html_page(
        title,
        f'{NO_SCRIPT}<div id="page"></div>',
        resource("report/report.css"),
        script=bundle("report/main"),
        data=report_blocks(report, out),
        generator=GENERATOR,
    )
    write_text_completely(out, page)
