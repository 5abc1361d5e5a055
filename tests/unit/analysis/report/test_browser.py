"""The report page in headless Chromium, operated by clicks."""

import json

import pytest

from helpers.browser import visit
from helpers.report_pages import HTML_INJECTION, settle, write_page
from helpers.run_folders import write_run

HEAD = ".runs thead button[data-sort='{}']"


def headings(page):
    """Return the column headings of the table."""
    texts = page.locator(".runs thead th").all_inner_texts()
    return [text.strip(" ▲▼\n").replace("\n", " ") for text in texts]


def column(page, name):
    """Return the cells of a column of the table, by its heading."""
    place = headings(page).index(name)
    cells = page.locator(".runs tbody tr[data-row]").evaluate_all(
        "(rows, place) => rows.map((row) => row.cells[place].innerText)", place
    )
    return [cell.split("\n")[0] for cell in cells]


def drawn(page, chart=0):
    return int(page.locator("canvas.lines").nth(chart).get_attribute("data-drawn"))


def test_seeds_are_grouped_and_best_comes_first(page):
    assert column(page, "mean R@1") == ["60.50", "40.50", "20.50", "5.00"]
    assert column(page, "margin") == ["0.2", "0.3", "0.1", "0.9"]
    assert column(page, "vs best") == ["best", "worse", "worse", "–"]
    assert column(page, "status".title())[-1] == "failed"
    assert page.locator(".tally").inner_text().split("\n") == ["6 finished", "1 failed", "unreadable ledger lines: 1"]


def test_heading_sorts_and_second_click_reverses(page):
    page.click(HEAD.format("setting:loss.margin"))
    settle(page)
    assert column(page, "margin") == ["0.1", "0.2", "0.3", "0.9"]
    page.click(HEAD.format("setting:loss.margin"))
    settle(page)
    assert column(page, "margin") == ["0.9", "0.3", "0.2", "0.1"]
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("margin")


@pytest.mark.parametrize(
    ("text", "margins"),
    [
        ("margin=0.3", ["0.3"]),
        ("mean_r1>30 margin<=0.2", ["0.2"]),
        ("RUN-3", ["0.2"]),
        ("nonsense", []),
    ],
)
def test_filter(page, text, margins):
    page.fill("input[type=search]", text)
    settle(page)
    assert column(page, "margin") == margins
    assert drawn(page) == len(margins)
    assert page.locator("text=No run matches").count() == (not margins)


def test_status_filter(page):
    page.select_option(".filters select", "failed")
    settle(page)
    assert column(page, "margin") == ["0.9"]
    assert page.locator(".count").inner_text() == "1 of 7 runs"


def test_recipe_expands_to_runs_and_run_to_details(page):
    page.click("tr[data-row=g1] .name")
    settle(page)
    assert column(page, "mean R@1") == ["60.50", "60.00", "61.00", "40.50", "20.50", "5.00"]
    page.click("tr[data-row=r3] .name")
    settle(page)
    details = page.locator("tr.detail")
    assert "loss.margin=0.2" in details.inner_text()
    assert details.locator("a").get_attribute("href") == "run-3/"
    page.click("text=Group seeds")
    settle(page)
    assert len(column(page, "mean R@1")) == 7


def test_row_is_hidden_in_charts_and_shown_again(page):
    assert (drawn(page, 0), drawn(page, 1)) == (4, 4)
    page.click("tr[data-row=g1] .swatch")
    settle(page)
    assert (drawn(page, 0), drawn(page, 1)) == (3, 3)
    assert page.locator("tr[data-row=g1] .swatch").get_attribute("aria-pressed") == "false"
    page.click("[data-drawn=none]")
    settle(page)
    assert drawn(page) == 0
    page.click("[data-drawn=all]")
    settle(page)
    assert drawn(page) == 4


def zoom_of(page):
    return json.loads(page.locator("canvas.lines").first.get_attribute("data-range"))


def test_drag_zooms_and_double_click_resets(page):
    canvas = page.locator("canvas.lines").first
    canvas.scroll_into_view_if_needed()
    settle(page)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 200, steps=3)
    page.mouse.up()
    settle(page)
    x, y = zoom_of(page)["x"], zoom_of(page)["y"]
    assert 5 < x[0] < x[1] < 35
    assert 5 < y[0] < y[1] < 65
    canvas.dblclick(position={"x": 300, "y": 100})
    settle(page)
    assert zoom_of(page) is None


def test_time_axis_smoothing_and_metric_change_the_chart(page):
    canvas = page.locator("canvas.lines").first
    canvas.scroll_into_view_if_needed()
    before = canvas.screenshot()
    page.select_option("select[aria-label='x axis']", "time")
    settle(page)
    by_time = canvas.screenshot()
    page.locator("input[type=range]").fill("0.9")
    settle(page)
    assert len({before, by_time, canvas.screenshot()}) == 3
    page.locator("select[aria-label=Metric]").first.select_option("train/lr")
    settle(page)
    assert canvas.get_attribute("aria-label") == "train/lr"
    assert drawn(page) == 4


def test_log_scale_is_switched_on_and_off(page):
    canvas = page.locator("canvas.lines").nth(1)
    canvas.scroll_into_view_if_needed()
    settle(page)
    linear = canvas.screenshot()
    box = page.locator("label.check", has_text="log scale").nth(1)
    box.click()
    settle(page)
    assert canvas.get_attribute("data-scale") == "log"
    assert page.locator("canvas.lines").first.get_attribute("data-scale") == "linear", "only this chart changes"
    assert canvas.screenshot() != linear
    box.click()
    settle(page)
    assert canvas.get_attribute("data-scale") == "linear"
    assert canvas.screenshot() == linear


def test_columns_are_hidden_and_shown_again(page):
    page.click("details.choice summary")
    box = page.locator("details.choice label", has_text="margin").locator("input")
    box.uncheck()
    settle(page)
    assert "margin" not in headings(page)
    assert page.locator("[data-card=parallel] polyline.run").count() == 0, "nothing else differs"
    box.check()
    settle(page)
    assert column(page, "margin") == ["0.2", "0.3", "0.1", "0.9"]


def test_result_metric_is_selected(page):
    result = page.locator("select[aria-label=Result]")
    result.scroll_into_view_if_needed()
    axis = page.locator("[data-card=parallel] [data-axis=result]")
    assert "mean R@1" in page.locator("[data-card=parallel]").inner_text()
    result.select_option("rsum")
    settle(page)
    assert axis.count() == 1
    text = page.locator("[data-card=parallel]").inner_text()
    assert "rsum" in text
    assert "mean R@1" not in text


def test_tooltip_names_nearest_curve(page):
    canvas = page.locator("canvas.lines").first
    canvas.scroll_into_view_if_needed()
    settle(page)
    box = canvas.bounding_box()
    for y in range(20, 270, 15):
        page.mouse.move(box["x"] + 350, box["y"] + y)
        if page.locator("#tip").is_visible():
            break
    assert "val/mean_r1" in page.locator("#tip").inner_text()


def test_comparison_of_two_runs(page):
    page.click("tr[data-row=g0] .pick[data-side=a]")
    page.click("tr[data-row=g1] .pick[data-side=b]")
    settle(page)
    difference = page.locator("[data-card=difference] tbody tr")
    assert [row.split("\t") for row in difference.all_inner_texts()] == [["loss.margin", "0.1", "0.2"]]
    verdict = page.locator("[data-card=verdict]").inner_text()
    assert verdict.startswith("Mean R@1: B is better by 40.00 (difference B − A +40.00, 95 % interval +")
    page.click("tr[data-row=g2] .pick[data-side=b]")
    settle(page)
    assert "tangka_match.compare 'a=[" in page.locator("[data-card=verdict] pre").inner_text()
    page.click("tr[data-row=r6] .pick[data-side=b]")
    settle(page)
    assert "both sides need ranks.csv" in page.locator("[data-card=verdict]").inner_text()


def test_importance_and_pareto_front(page):
    page.locator("[data-card=importance]").scroll_into_view_if_needed()
    settle(page)
    shares = page.locator("[data-card=importance] .share")
    assert shares.first.get_attribute("data-setting") == "loss.margin"
    assert shares.first.locator("b").inner_text() == "100 %"
    front = page.locator("[data-card=pareto] circle.front")
    assert front.count() == 2, "fewest parameters, and best result"


@pytest.mark.parametrize("runs", [2, 6], ids=["too few runs", "enough runs"])
def test_importance_stays_inside_its_card(browser, tmp_path, runs):
    for number in range(runs):
        config = {"loss": {"weight_of_a_setting_with_a_very_long_name_that_has_to_break": number // 2}}
        write_run(tmp_path, f"run-{number}", r1=20.0 + number, config=config)
    seen = visit(browser, write_page(tmp_path, tmp_path / "report.html"), 1300)
    seen.page.locator("[data-card=importance]").scroll_into_view_if_needed()
    settle(seen.page)
    beyond = """(card) => [...card.querySelectorAll("span, p, b")].filter(
        (part) => part.getBoundingClientRect().right > card.getBoundingClientRect().right)"""
    card = seen.page.locator("[data-card=importance]")
    assert (card.locator(".share").count() > 0) == (runs == 6)
    assert card.evaluate(beyond) == []
    assert card.evaluate("(card) => card.scrollWidth - card.clientWidth") == 0
    tracks = card.evaluate("(card) => [...card.querySelectorAll('.track')].map((t) => t.getBoundingClientRect().width)")
    assert min(tracks, default=30) >= 30


def test_parallel_coordinates_range_selection(page):
    hold = page.locator("[data-card=parallel] .hold[data-axis=result]")
    hold.scroll_into_view_if_needed()
    settle(page)
    assert page.locator("[data-card=parallel] polyline.run").count() == 4
    box = hold.bounding_box()
    page.mouse.move(box["x"] + 14, box["y"])
    page.mouse.down()
    page.mouse.move(box["x"] + 14, box["y"] + box["height"] * 0.5)
    page.mouse.up()
    settle(page)
    assert page.locator("[data-card=parallel] polyline.off").count() == 2


def test_language_switch_keeps_selections(page):
    page.fill("input[type=search]", "margin<0.25")
    page.click("[data-language=zh]")
    settle(page)
    assert page.locator("h1").inner_text() == "实验对比"
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    assert column(page, "平均 R@1") == ["60.50", "20.50"]
    page.click("[data-language=en]")
    assert page.locator("h1").inner_text() == "Comparison of runs"


def test_run_data_are_never_parsed_as_html(page):
    page.click("tr[data-row=r6] .name")
    settle(page)
    assert page.locator("tr.detail").inner_text().count(HTML_INJECTION) == 2
    assert page.title() != "broken"
    assert page.locator("main img").count() == 0


def test_narrow_window_in_chinese_has_no_horizontal_scrolling(browser, report):
    seen = visit(browser, report, 420, locale="zh-CN")
    assert seen.page.locator("h1").inner_text() == "实验对比"
    assert seen.page.evaluate("document.documentElement.scrollWidth") == 420
    assert (seen.errors, seen.requests) == ([], [])


@pytest.mark.parametrize("options", [{"status": None, "steps": 0}, {"status": "finished"}])
def test_page_with_a_single_run(browser, tmp_path, options):
    write_run(tmp_path, "only", **options)
    seen = visit(browser, write_page(tmp_path, tmp_path / "report.html"), 800)
    assert len(column(seen.page, "mean R@1")) == 1
    assert (seen.errors, seen.requests) == ([], [])


def test_folds_show_the_pooled_result_with_its_interval(browser, tmp_path):
    for fold in range(3):
        data = {"root": "data/demo_small", "folds": 3, "fold": fold}
        write_run(tmp_path, f"run-{fold}", r1=30.0 + 3 * fold, ranks=True, config={"data": data})
    write_run(tmp_path, "whole", r1=10.0, ranks=True)
    seen = visit(browser, write_page(tmp_path, tmp_path / "report.html"), 1400)
    assert column(seen.page, "seed") == ["3 folds", "0"]
    assert column(seen.page, "mean R@1") == ["33.00", "10.00"]
    place = headings(seen.page).index("mean R@1") + 1
    below = seen.page.locator(f".runs tbody tr:first-child td:nth-child({place}) .sub").inner_text()
    low, high = map(float, below.split("–"))
    assert 26.0 < low < 32.0
    assert 34.0 < high < 40.0
    seen.page.close()
    assert (seen.errors, seen.requests) == ([], [])
