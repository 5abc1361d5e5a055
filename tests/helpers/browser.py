"""Opens a page in headless Chromium, as a double-click would."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Opened(NamedTuple):
    """What a page did, and how wide things are drawn, in pixels.

    Args:
        errors: On the console.
        requests: Addresses asked for beside its own.
        charts: Widths of curves.
        pictures: Widths of thumbnails.
        boxes: Widths of regions marked on them.
        width: Of the page.
    """

    errors: list[str]
    requests: list[str]
    charts: list[float]
    pictures: list[float]
    boxes: list[float]
    width: int


def open_page(path: Path, width: int, picture: Path) -> Opened:
    """Open a local page in a window of this width, open all its details, and take a picture of all of it.

    Skips the test where there is no Chromium.
    """
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    errors: list[str] = []
    requests: list[str] = []
    with sync_playwright() as playwright:
        # A browser that runs as root, as in a container, starts only without its sandbox; the page is our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.absolute().as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.screenshot(path=picture, full_page=True)
        charts, pictures, boxes = (
            page.evaluate(f"[...document.querySelectorAll('{what}')].map(p => p.getBoundingClientRect().width)")
            for what in ("svg polyline", ".thumb use", ".look")
        )
        scroll_width = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    return Opened(
        errors, [url for url in requests if url != path.absolute().as_uri()], charts, pictures, boxes, scroll_width
    )
