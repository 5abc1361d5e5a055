"""The page in headless Chromium: typing, hovering, clicking, history, phone width."""

import re

import pytest
from playwright.sync_api import expect

from helpers.browser import browsing
from helpers.running_server import running
from tangka_match.serving.desk import SearchDesk

QUERY = "绿度母骑自行车"
DROP = """bytes => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], "own.png", { type: "image/png" }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def site(desk):
    """Serve both models, and one alone; yield the browser and the addresses."""
    alone = SearchDesk({"dual": desk.searchers["dual"]}, desk.split, desk.pictures, top=5)
    with running(desk) as two, running(alone) as one, browsing() as browser:
        yield browser, one, two


class Session:
    """Page with the errors and foreign requests that it caused."""

    def __init__(self, browser, address, width=1200, **options):
        self.page = browser.new_page(viewport={"width": width, "height": 800}, **({"locale": "en-GB"} | options))
        self.errors, self.foreign = [], []
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda r: r.url.startswith((address, "blob:")) or self.foreign.append(r.url))
        self.page.goto(address)
        expect(self.page.locator(".card").first).to_be_visible()

    def search(self, query):
        self.page.get_by_role("searchbox").fill(query)
        self.page.keyboard.press("Enter")
        expect(self.page.locator(".word").first).to_be_visible()

    def close(self):
        self.page.close()
        assert (self.errors, self.foreign) == ([], [])


def test_typing_a_sentence_shows_its_best_images(site, desk):
    browser, one, _ = site
    session = Session(browser, one)
    session.search(QUERY)
    cards = session.page.locator(".card")
    expect(cards).to_have_count(5)
    best = [desk.split.image_ids[row] for row in desk.searchers["dual"].search([QUERY], 5).rows[0]]
    assert [card.get_attribute("data-image") for card in cards.all()] == best
    expect(session.page.locator(".word.unknown")).to_have_text(["骑", "自行车"])
    expect(cards.first.locator(".gap")).to_have_text(re.compile(r"gap \d\.\d{3}"))
    expect(cards.first.locator(".caption")).to_be_hidden()
    cards.first.locator("summary").click()
    expect(cards.first.locator(".caption")).to_be_visible()
    session.close()


def test_pointing_at_a_word_shows_its_heat_map(site):
    browser, one, _ = site
    session = Session(browser, one)
    session.search(QUERY)
    canvas = session.page.locator(".card canvas").first
    expect(canvas).to_have_css("opacity", "0")
    session.page.locator(".word").first.hover()
    expect(canvas).to_have_css("opacity", "1")
    drawn = canvas.evaluate("c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size")
    assert drawn > 10  # not one colour
    session.page.mouse.move(2, 2)
    expect(canvas).to_have_css("opacity", "0")
    session.page.locator(".word.unknown").first.hover()  # has no effect on the score
    session.page.wait_for_timeout(300)
    expect(canvas).to_have_css("opacity", "0")
    session.close()


def test_clicking_a_picture_and_going_back(site):
    browser, one, _ = site
    session = Session(browser, one)
    page = session.page
    session.search("绿度母")
    chosen = page.locator(".card").nth(1).get_attribute("data-image")
    page.locator(".card .picture").nth(1).click()
    expect(page.locator(".chosen .card")).to_have_attribute("data-image", chosen)
    assert f"?image={chosen}" in page.url
    expect(page.locator(".captions li")).to_have_count(5)
    caption = page.locator(".captions button").first
    text = caption.inner_text()
    caption.click()
    expect(page.get_by_role("searchbox")).to_have_value(text)
    page.go_back()
    expect(page.locator(".chosen .card")).to_have_attribute("data-image", chosen)
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("绿度母")
    expect(page.locator(".word")).to_have_text(["绿度母"])
    page.go_forward()
    expect(page.locator(".chosen .card")).to_have_attribute("data-image", chosen)
    session.close()


def test_html_in_captions_and_queries_stays_text(site, desk):
    browser, one, _ = site
    session = Session(browser, one)
    session.page.goto(f"{one}/?image={desk.split.image_ids[0]}")
    expect(session.page.locator(".chosen .caption")).to_contain_text("<script>")
    session.search("<img src=x onerror=alert(1)>绿度母")
    assert "broken" not in session.page.title()
    assert session.page.locator("main script, main img[src='x']").count() == 0
    session.close()


def test_two_models_are_shown_side_by_side(site, desk):
    browser, _, two = site
    session = Session(browser, two)
    session.search("绿度母")
    sections = session.page.locator(".columns.two section")
    expect(sections).to_have_count(2)
    for place, (name, searcher) in enumerate(desk.searchers.items()):
        expect(sections.nth(place).locator("h2")).to_have_text(name)
        best = [desk.split.image_ids[row] for row in searcher.search(["绿度母"], 5).rows[0]]
        shown = [card.get_attribute("data-image") for card in sections.nth(place).locator(".card").all()]
        assert shown == best
    left, right = (sections.nth(place).bounding_box() for place in range(2))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    session.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_width_and_chinese_labels(site, scheme):
    browser, one, _ = site
    session = Session(browser, one, width=360, locale="zh-CN", color_scheme=scheme)
    session.search("绿度母")
    assert session.page.evaluate("document.documentElement.scrollWidth") == 360
    expect(session.page.get_by_role("button", name="搜索", exact=True)).to_be_visible()
    ground = session.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", ground))) > 128) == (scheme == "light")
    session.page.get_by_role("button", name="English").click()
    expect(session.page.get_by_role("button", name="Search", exact=True)).to_be_visible()
    session.close()


def test_errors_are_shown_on_the_page(site):
    browser, one, _ = site
    session = Session(browser, one)
    session.page.get_by_role("searchbox").fill("。")
    session.page.keyboard.press("Enter")
    expect(session.page.locator(".fault")).to_have_text(re.compile("has no words"))
    session.errors.clear()  # the browser reports the status 400
    session.close()


def test_set_without_pictures_shows_boxes_and_how_to_add_pictures(site, tmp_path, desk):
    browser, _, _ = site
    bare = SearchDesk({"dual": desk.searchers["dual"]}, desk.split, type(desk.pictures)(tmp_path), top=5)
    with running(bare) as address:
        session = Session(browser, address)
        expect(session.page.locator(".notice")).to_contain_text(str(tmp_path / "thumbnails"))
        expect(session.page.locator(".card").first.locator("svg rect")).to_have_count(4)
        expect(session.page.locator(".card .name").first).to_have_text(desk.split.image_ids[0])
        session.close()


def test_a_dropped_picture_is_searched_with(site, with_uploads):
    browser, _, _ = site
    with running(with_uploads) as address:
        session = Session(browser, address)
        expect(session.page.locator(".hint")).to_have_text(re.compile("Drop a picture"))
        content = with_uploads.pictures.find("test-0000").read_bytes()
        session.page.evaluate(DROP, list(content))
        expect(session.page.locator(".chosen img").first).to_be_visible()
        expect(session.page.locator("section").first.locator(".card").first).to_have_attribute(
            "data-image", "test-0003"
        )
        session.close()
