import io
import json
import math
import re
from xml.etree.ElementTree import fromstring

import pytest
from rich.console import Console

from tangka_match.analysis.diagnosis.charts import histogram, lines, ticks
from tangka_match.analysis.diagnosis.finding import Finding, Section
from tangka_match.analysis.diagnosis.output import NO_PROBLEMS, check_out, print_diagnosis, render_page, write_diagnosis
from tangka_match.errors import ConfigError

LEAK = Finding("image_leak", "fault", "4 of 363 <img src=x>", "so", "remove", points=1.1, ids=("图-1", "图-2"))
NOTE = Finding("few_queries", "info", "on 363 images", "so", "compare")
WARNING = Finding("near_images", "warning", "44 of 363", "so", "keep one", points=6.3)


def section(*findings):
    return Section("data", "Data & words", [("绿度母", "a < b")], findings, [histogram({"train": [1, 2, 2]}, "x", "y")])


def polyline(svg):
    points = fromstring(svg).find("polyline").get("points").split()  # noqa: S314 - our own
    return [tuple(map(float, point.split(","))) for point in points]


def test_page_sorts_findings_by_severity_and_escapes_text():
    page = render_page("Diagnosis of 唐卡", "data /tmp", [section(NOTE, WARNING), section(LEAK)])
    assert re.findall(r'<span class="code">(\w+)', page) == ["image_leak", "near_images", "few_queries"]
    assert "4 of 363 &lt;img src=x&gt;" in page
    assert "图-1, 图-2" in page
    assert "up to 1.1 points of R@1" in page
    assert [f"1 {noun}<" in page for noun in ("fault", "warning", "note")] == [True] * 3
    assert NO_PROBLEMS not in page


def test_page_with_info_only_reports_no_problems():
    assert NO_PROBLEMS in render_page("t", "a", [section(NOTE)])


def test_page_makes_no_requests():
    page = render_page("t", "a", [section(LEAK, NOTE)])
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|<link(?! rel=\"icon\" href=\"data:,\")", page)


def test_terminal_sorts_findings_and_ends_with_counts():
    console = Console(file=io.StringIO(), width=100)
    print_diagnosis(console, [section(NOTE, LEAK)])
    text = console.file.getvalue()
    assert text.index("image_leak") < text.index("few_queries")
    assert text.endswith("1 fault, 0 warnings, 1 note; fix first: image_leak\n")
    assert "<img src=x>" in text
    assert NO_PROBLEMS not in text
    print_diagnosis(console, [section(NOTE)])
    assert NO_PROBLEMS in console.file.getvalue()


def test_write_diagnosis_writes_json_and_html(tmp_path):
    write_diagnosis(tmp_path / "out", "Diagnosis", {"data": "set", "run": None}, [section(LEAK)])
    content = json.loads((tmp_path / "out" / "diagnosis.json").read_text("utf-8"))
    assert content["counts"] == {"fault": 1, "warning": 0, "info": 0}
    assert content["sections"]["data"]["findings"][0]["ids"] == ["图-1", "图-2"]
    assert "None" not in (tmp_path / "out" / "diagnosis.html").read_text("utf-8")
    check_out(tmp_path / "out")


def test_exception_nothing_is_overwritten(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"out=.* holds notes\.txt; nothing is overwritten"):
        check_out(tmp_path)
    with pytest.raises(ConfigError, match=r"notes\.txt is a file; nothing is overwritten"):
        check_out(tmp_path / "notes.txt")


def test_histogram_worked_example():
    svg = histogram({"train": [1, 2, 2, 3]}, "words", "%", bins=3)
    points = polyline(svg)
    assert 'text-anchor="end">50</text>' in svg, "two of four captions have two words"
    heights = [250 - 44 - y for _, y in points]
    full = max(heights)
    assert [round(height / full, 2) for height in heights] == [0, 0.5, 0.5, 1, 1, 0.5, 0.5, 0]


def test_curve_fills_the_frame():
    assert polyline(lines({"loss": ([0, 10], [0, 4])}, "steps", "loss")) == [(66.0, 206.0), (504.0, 30.0)]


def labels(svg):
    """Return the tick labels."""
    return [text.text for text in fromstring(svg).iter() if text.get("class") == "tick"]  # noqa: S314 - our own


@pytest.mark.parametrize(("step", "rate"), [(1, 0.0), (1, 5e-4), (7, 0.03)])
def test_axes_around_a_single_point_have_whole_steps_and_nothing_below_zero(step, rate):
    *shown, _ = labels(lines({"lr": ([step], [rate])}, "optimizer steps", "learning rate"))
    assert not [tick for tick in shown if tick.startswith(("-", "−"))]
    steps = shown[: shown.index("0", 1)]
    assert str(step) in steps or step == 7
    assert all("." not in tick for tick in steps)


def test_rounding_does_not_double_the_ticks():
    assert len(ticks(0.0, 2.0)) == 5
    assert len(ticks(0.0, 2 * 9.99999997e-7)) <= 5, "a learning rate of 1e-6 in float32"


def test_few_steps_have_whole_ticks():
    assert labels(lines({"loss": ([1, 2], [5.0, 6.0])}, "steps", "loss"))[:2] == ["1", "2"]


def test_negative_ticks_have_a_minus_sign():
    assert "−2" in labels(lines({"score": ([0, 1], [-2.0, 2.0])}, "x", "y"))


def test_non_finite_values_are_skipped():
    svg = lines({"norm": ([0, 1, 2, 3], [1.0, math.nan, 0.0, 100.0])}, "steps", "norm", logarithmic=True)
    assert len(polyline(svg)) == 2


def test_long_curve_is_subsampled_and_keeps_its_end():
    points = polyline(lines({"loss": (range(5_000), range(5_000))}, "steps", "loss"))
    assert len(points) <= 402
    assert points[-1] == (504.0, 30.0)


@pytest.mark.parametrize("values", [{}, {"train": []}, {"train": [3.0]}, {"train": [math.nan, 2.5]}])
def test_charts_of_few_values_are_well_formed(values):
    curves = {name: (range(len(v)), v) for name, v in values.items()}
    for svg in (histogram(values, "x", "y"), lines(curves, "x", "y")):
        drawn = fromstring(svg)  # noqa: S314 - our own
        assert {"x", "y", *values} <= {text.text for text in drawn.iter() if text.text}
        assert "nan" not in svg
