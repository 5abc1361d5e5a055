"""Report pages for tests in a browser."""

from pathlib import Path

from playwright.sync_api import Page

from helpers.records import record_of
from tangka_match.analysis.curves import thin_curves
from tangka_match.analysis.report.page import write_report
from tangka_match.analysis.report.payload import Report
from tangka_match.analysis.report.verdicts import compare_with_best
from tangka_match.analysis.runs.selection import fold_seeds
from tangka_match.records.run_files import read_run_files

HTML_INJECTION = '</script><script>document.title="broken"</script><img src=http://evil.example/x onerror=alert(1)>'


def write_page(root: Path, out: Path) -> Path:
    """Write the report of the runs of a folder."""
    folders = sorted(path.parent for path in root.glob("*/ledger.jsonl"))
    recipes = fold_seeds([record_of(folder) for folder in folders])
    curves = {folder: thin_curves(read_run_files(folder, with_curves=True).curves, len(folders)) for folder in folders}
    write_report(Report(root, recipes, curves, compare_with_best(recipes, 20, 1000), 1.79e9), out)
    return out


def settle(page: Page) -> None:
    """Wait until changes are drawn, at the next frame."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
