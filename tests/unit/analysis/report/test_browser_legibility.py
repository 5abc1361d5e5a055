"""Texts, legends and hints of the report page in headless Chromium."""

from helpers.browser import visit
from helpers.report_pages import settle, write_page
from helpers.run_folders import write_run


def test_error_bars_are_over_validation_images(page):
    note = page.locator("[data-card=bars] .hint")
    assert "95 % interval over validation images" in note.inner_text()
    page.click("[data-language=zh]")
    assert "验证集图像" in note.inner_text()
    page.click("[data-language=en]")


def test_wide_table_hints_at_hidden_columns_until_scrolled(browser, report):
    seen = visit(browser, report, 700)
    hint, frame = seen.page.locator(".more"), seen.page.locator(".frame")
    settle(seen.page)
    assert hint.is_visible()
    assert "cut" in frame.get_attribute("class")
    seen.page.locator(".scroll").evaluate("(scroller) => { scroller.scrollLeft = scroller.scrollWidth; }")
    seen.page.wait_for_selector(".frame:not(.cut)")
    assert not hint.is_visible()
    seen.page.set_viewport_size({"width": 2400, "height": 800})
    settle(seen.page)
    assert not hint.is_visible()
    seen.page.close()


def test_colours_of_the_parallel_coordinates_have_a_legend(page):
    legend = page.locator("[data-card=parallel] .scale")
    legend.scroll_into_view_if_needed()
    assert legend.inner_text().split("\n") == ["Colour of the lines: mean R@1", "5.00", "60.50"]
    lines = page.locator("[data-card=parallel] polyline.run")
    colours = lines.evaluate_all("(all) => all.map((one) => one.getAttribute('stroke').replaceAll(' ', ''))")
    gradient = legend.locator("i").evaluate("(bar) => bar.style.background").replace(" ", "")
    assert "rgb(68,1,84)" in colours, "the lowest result"
    assert gradient.index("rgb(68,1,84)") < gradient.index("rgb(222,200,32)")


def test_choices_begin_with_the_recall(page):
    options = page.locator("#compare select").first.locator("option").all_inner_texts()
    assert "60.50 · " in options[2]
    assert all(option.split(" · ")[0].replace(".", "").isdigit() for option in options[1:-1])


def test_sentences_in_chinese_have_full_width_punctuation(page):
    page.click("tr[data-row=g0] .pick[data-side=a]")
    page.click("tr[data-row=g1] .pick[data-side=b]")
    page.click("[data-language=zh]")
    settle(page)
    verdict = page.locator("[data-card=verdict]").inner_text().split("\n")[0]
    assert verdict.endswith("）。")
    assert not set("():;") & set(verdict)
    assert "图中显示：" in page.locator(".drawn").inner_text()
    page.click("[data-language=en]")


def test_names_of_settings_break_between_words(browser, tmp_path):
    for number in range(2):
        config = {"training": {"early_stopping_patience": number, "a_setting_with_a_rather_long_name": number}}
        write_run(tmp_path, f"run-{number}", r1=20.0 + number, config=config)
    seen = visit(browser, write_page(tmp_path, tmp_path / "report.html"), 420)
    # A text node that is broken has several boxes.
    broken = """(cells) => cells.flatMap((cell) => [...cell.childNodes]).filter((node) => {
        const range = document.createRange();
        range.selectNodeContents(node);
        return new Set([...range.getClientRects()].map((box) => box.top)).size > 1;
    }).map((node) => node.textContent)"""
    keys = seen.page.locator("#compare .key")
    keys.first.scroll_into_view_if_needed()
    assert "training.early_stopping_patience" in keys.all_inner_texts()
    assert keys.evaluate_all(broken) == []
    seen.page.close()
