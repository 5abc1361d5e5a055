import math
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from tangka_match.analysis.curves import MAX_POINTS, MIN_POINTS, PAGE_POINTS, PANELS, draw_curves, thin, thin_curves
from tangka_match.records.curves import metric_curves


def events(count, names=("train/loss",)):
    return [{"event": "metrics", "step": n, "values": dict.fromkeys(names, float(n % 7))} for n in range(count)]


def test_short_curve_keeps_every_point():
    (steps, values) = thin_curves(metric_curves(events(3)), 1)["train/loss"]
    assert (steps.tolist(), values.tolist()) == ([1, 2, 3], [0.0, 1.0, 2.0])


def test_non_finite_values_are_left_out():
    found = [{"event": "metrics", "step": n, "values": {"a": v}} for n, v in enumerate([1.0, math.nan, math.inf, 2.0])]
    assert thin_curves(metric_curves([{"event": "start"}, *found], finite_only=True), 1)["a"][0].tolist() == [1, 4]


def test_thin_keeps_spikes_and_both_ends():
    values = np.sin(np.arange(10_000) / 500)
    values[[3_333, 7_777]] = [9.0, -9.0]
    steps, kept = thin(np.arange(10_000), values, 100)
    assert len(steps) <= 100
    assert {0, 3_333, 7_777, 9_999} <= set(steps.tolist())
    assert (np.diff(steps) > 0).all()
    assert (kept == values[steps]).all()


@pytest.mark.parametrize(("runs", "names", "most"), [(1, 1, MAX_POINTS), (500, 10, 70), (5_000, 10, MIN_POINTS)])
def test_curves_have_fewer_points_on_a_page_of_many_runs(runs, names, most):
    curves = thin_curves(metric_curves(events(2_000, [f"m{n}" for n in range(names)])), runs)
    assert all(most * 0.8 < len(steps) <= most for steps, _ in curves.values())
    assert most == MIN_POINTS or runs * names * most <= PAGE_POINTS


def metrics(step, **values):
    return {
        "event": "metrics",
        "step": step,
        "epoch": 0,
        "values": {k.replace("__", "/"): v for k, v in values.items()},
    }


EVENTS = [
    {"event": "start", "run_id": "a"},
    metrics(0, train__loss=1.0, train__lr=0.1),
    metrics(5, train__loss=0.5, train__lr=0.2, other=7.0),
    metrics(5, val__loss=0.8, val__t2i_r1=10.0, val__i2t_r1=20.0),
    {"event": "end", "status": "finished"},
]


@pytest.fixture(scope="module")
def figure(tmp_path_factory):
    """Return the figure of `draw_curves`, without closing it."""
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "close", drawn.append)
        draw_curves(EVENTS, tmp_path_factory.mktemp("curves") / "curves.png")
    yield drawn[0]
    plt.close(drawn[0])


def lines(panel):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in panel.get_lines()}


def test_draw_curves_writes_png(tmp_path):
    draw_curves(EVENTS, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == (1430, 715)  # 13 by 6.5 inches at 110 dots


def test_metrics_are_drawn_against_steps_done(figure):
    panels = {panel.get_title(): lines(panel) for panel in figure.axes}
    assert panels["loss"] == {"train/loss": ([1, 6], [1.0, 0.5]), "val/loss": ([6], [0.8])}
    assert panels["learning rate"] == {"train/lr": ([1, 6], [0.1, 0.2])}
    assert panels["recall, %"] == {"val/i2t_r1": ([6], [20.0]), "val/t2i_r1": ([6], [10.0])}


def test_missing_and_unlisted_metrics_are_not_drawn(figure):
    drawn = [name for panel in figure.axes for name in lines(panel)]
    assert sorted(drawn) == ["train/loss", "train/lr", "val/i2t_r1", "val/loss", "val/t2i_r1"]


def test_directions_have_different_line_styles(figure):
    styles = {line.get_label(): line.get_linestyle() for panel in figure.axes for line in panel.get_lines()}
    assert (styles["val/i2t_r1"], styles["val/t2i_r1"]) == ("-", "--")


def test_single_value_is_drawn_as_point(figure):
    markers = {line.get_label(): line.get_marker() for panel in figure.axes for line in panel.get_lines()}
    assert markers["val/loss"] == "."


def test_only_panels_with_curves_have_legend(figure):
    assert [panel.get_legend() is not None for panel in figure.axes] == [True, True, False, True, False, False]


def test_panels_have_title_and_axis_label(figure):
    assert [panel.get_title() for panel in figure.axes] == [title for title, _ in PANELS]
    assert {panel.get_xlabel() for panel in figure.axes} == {"optimizer steps"}


@pytest.mark.parametrize("events", [[], [{"event": "start"}], [metrics(0, train__loss=float("nan"))]])
def test_run_without_finite_metrics_is_drawn(tmp_path, events):
    draw_curves(events, tmp_path / "curves.png")
    assert np.asarray(Image.open(tmp_path / "curves.png")).std() > 0


def test_draw_curves_closes_its_figure(tmp_path):
    before = plt.get_fignums()
    draw_curves(EVENTS, tmp_path / "curves.png")
    assert plt.get_fignums() == before


def test_draw_curves_accepts_iterator(tmp_path):
    for name, events in (("list", EVENTS), ("iterator", iter(EVENTS))):
        draw_curves(events, tmp_path / f"{name}.png")
    assert (tmp_path / "iterator.png").read_bytes() == (tmp_path / "list.png").read_bytes()


def test_importing_curves_does_not_import_matplotlib():
    script = "import sys, tangka_match.analysis.curves; assert 'matplotlib' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
