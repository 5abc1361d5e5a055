import pytest

from helpers.browser import browsing, visit
from helpers.report_pages import HTML_INJECTION, write_page
from helpers.run_folders import write_run


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Write a report of margins 0.1, 0.2, 0.3 (R@1 20, 60, 40), two seeds each, and of a failed run with HTML tags."""
    root = tmp_path_factory.mktemp("runs")
    number = 0
    for margin, r1 in ((0.1, 20.0), (0.2, 60.0), (0.3, 40.0)):
        for seed in (0, 1):
            write_run(
                root, f"run-{number}", r1=r1 + seed, seed=seed, began=1.79e9 + number, ranks=True,
                config={"loss": {"margin": margin}}, overrides=[f"loss.margin={margin}"],
                num_parameters=number * 1000 + 1000, step_seconds=1.0 + margin,
            )  # fmt: skip
            number += 1
    config = {"loss": {"margin": 0.9}, "name": HTML_INJECTION, "tags": [HTML_INJECTION]}
    write_run(root, "run-evil", r1=5.0, status="failed", steps=20, config=config, overrides=[HTML_INJECTION])
    with (root / "run-evil" / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"event": "metr\n')
    return write_page(root, root / "report.html")


@pytest.fixture(scope="module")
def browser():
    with browsing() as found:
        yield found


@pytest.fixture
def page(browser, report):
    seen = visit(browser, report, 1400)
    yield seen.page
    seen.page.close()
    assert (seen.errors, seen.requests) == ([], [])
