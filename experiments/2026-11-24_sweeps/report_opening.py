"""How long a report of 500 runs with 1,000 points each takes to open: ``python report_opening.py <new folder>``.

Headless Chromium, median of five openings. Seconds of the page's main thread are CPU time, which a busy machine does
not stretch.
"""

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from helpers.browser import browsing
from helpers.records import record_of
from helpers.run_folders import write_run
from tangka_match.analysis.curves import thin_curves
from tangka_match.analysis.report.page import write_report
from tangka_match.analysis.report.payload import Report
from tangka_match.analysis.runs.selection import fold_seeds
from tangka_match.records.run_files import read_run_files

RUNS, STEPS, OPENINGS = 500, 1000, 5
TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
MOMENTS = """[performance.getEntriesByType('navigation')[0].loadEventEnd,
  performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.now()]"""
NAMES = ("load_ms", "first_paint_ms", "drawn_ms", "main_thread_cpu_s", "script_cpu_s")


def write_page(root: Path) -> Path:
    """100 recipes of five seeds."""
    for number in range(RUNS):
        loss, optimizer = {"margin": 0.1 + number // 5 % 10 / 50}, {"lr": 1e-4 * (1 + number // 50)}
        write_run(
            root, f"run-{number:03}", r1=10 + number % 60, seed=number % 5, steps=STEPS, every=1, began=1.79e9 + number,
            config={"loss": loss, "optimizer": optimizer},
        )  # fmt: skip
    folders = sorted(path.parent for path in root.glob("*/ledger.jsonl"))
    curves = {folder: thin_curves(read_run_files(folder, with_curves=True).curves, RUNS) for folder in folders}
    recipes = fold_seeds([record_of(folder) for folder in folders])
    write_report(Report(root, recipes, curves, (), 1.79e9), root / "report.html")
    return root / "report.html"


def main() -> None:
    """Write, open, print."""
    page = write_page(Path(sys.argv[1]))
    rows = []
    with browsing() as browser:
        for _ in range(OPENINGS):
            tab = browser.new_page(viewport={"width": 1400, "height": 900})
            tools = tab.context.new_cdp_session(tab)
            tools.send("Performance.enable", {"timeDomain": "threadTicks"})
            tab.goto(page.absolute().as_uri())
            tab.evaluate(TWO_FRAMES)
            moments = tab.evaluate(MOMENTS)
            cpu = {item["name"]: item["value"] for item in tools.send("Performance.getMetrics")["metrics"]}
            rows.append([*moments, cpu["TaskDuration"], cpu["ScriptDuration"]])
            tab.close()
    print(f"{page.stat().st_size / 1e6:.1f} MB")
    for name, values in zip(NAMES, zip(*rows, strict=True), strict=True):
        print(f"{name}: {statistics.median(values):.5g}")


if __name__ == "__main__":
    main()
