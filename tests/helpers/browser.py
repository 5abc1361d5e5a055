"""Open local pages in headless Chromium."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Opened(NamedTuple):
    """Errors and requests of a page, and widths of its parts in pixels.

    Args:
        errors: Errors on the console.
        requests: Requested URLs, except its own.
        charts: Widths of the curves.
        pictures: Widths of the thumbnails.
        boxes: Widths of the regions drawn on thumbnails.
        width: Width of the page.
    """

    errors: list[str]
    requests: list[str]
    charts: list[float]
    pictures: list[float]
    boxes: list[float]
    width: int


@dataclass
class Visit:
    """Open page, with its console errors and requested URLs (except its own) so far."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def browsing() -> Iterator[Browser]:
    """Yield a browser for the duration of the block; starting it is slow.

    Skips the test without Chromium.
    """
    if CHROMIUM is None:
        pytest.skip("no chromium found; run apt-get install chromium")
    with sync_playwright() as playwright:
        # As root, for example in a container, Chromium starts only without its sandbox; the pages are our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def visit(browser: Browser, path: Path, width: int, locale: str = "en-GB") -> Visit:
    """Open a local page in a window of this width."""
    own = path.absolute().as_uri()
    seen = Visit(browser.new_page(viewport={"width": width, "height": 900}, locale=locale))
    seen.page.on("console", lambda message: seen.errors.append(message.text))
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.on("request", lambda request: request.url == own or seen.requests.append(request.url))
    seen.page.goto(own)
    return seen


def open_page(path: Path, width: int, picture: Path) -> Opened:
    """Open a local page in a window of this width, expand all details, and take a full-page screenshot.

    Skips the test without Chromium.
    """
    with browsing() as browser:
        seen = visit(browser, path, width)
        seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        seen.page.screenshot(path=picture, full_page=True)
        charts, pictures, boxes = (
            seen.page.evaluate(f"[...document.querySelectorAll('{what}')].map(p => p.getBoundingClientRect().width)")
            for what in ("svg polyline", ".thumb use", ".look")
        )
        scroll_width = seen.page.evaluate("document.documentElement.scrollWidth")
    return Opened(seen.errors, seen.requests, charts, pictures, boxes, scroll_width)
