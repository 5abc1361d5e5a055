"""Take the screenshot ``search.png`` of a running search page.

python -m tangka_match.search checkpoint=checkpoints/best/<run id>/best.ckpt data=demo
python docs/images/make_search.py [http://127.0.0.1:7860]
"""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

QUERY, WORD = "绿度母坐在莲花上，身后有彩虹", "彩虹"
CHROMIUM = "/usr/bin/chromium"


def main(address: str) -> None:
    """Search, point at a word, and save the upper part of the page in 256 colours."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 605}, locale="en-GB")
        page.goto(address)
        page.get_by_role("searchbox").fill(QUERY)
        page.keyboard.press("Enter")
        page.locator(".word", has_text=WORD).hover()
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1000)  # the heat maps fade in
        picture = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    picture.convert("RGB").quantize(256).save(Path(__file__).with_name("search.png"), optimize=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7860")
