import math

import numpy as np
import pytest

from tangka_match.analysis.report.curves import FEWEST_POINTS, MOST_POINTS, PAGE_POINTS, read_curves, thin


def events(count, names=("train/loss",)):
    return [{"event": "metrics", "step": n, "values": dict.fromkeys(names, float(n % 7))} for n in range(count)]


def test_short_curves_stay_whole_and_steps_count_from_one():
    (steps, values) = read_curves(events(3), 1)["train/loss"]
    assert (steps.tolist(), values.tolist()) == ([1, 2, 3], [0.0, 1.0, 2.0])


def test_what_is_not_finite_is_left_out():
    found = [{"event": "metrics", "step": n, "values": {"a": v}} for n, v in enumerate([1.0, math.nan, math.inf, 2.0])]
    assert read_curves([{"event": "start"}, *found], 1)["a"][0].tolist() == [1, 4]


def test_spikes_and_both_ends_survive():
    values = np.sin(np.arange(10_000) / 500)
    values[[3_333, 7_777]] = [9.0, -9.0]
    steps, kept = thin(np.arange(10_000), values, 100)
    assert len(steps) <= 100
    assert {0, 3_333, 7_777, 9_999} <= set(steps.tolist())
    assert (np.diff(steps) > 0).all()
    assert (kept == values[steps]).all()


@pytest.mark.parametrize(("runs", "names", "most"), [(1, 1, MOST_POINTS), (500, 10, 300), (5_000, 10, FEWEST_POINTS)])
def test_a_page_of_many_runs_has_fewer_points_of_each(runs, names, most):
    curves = read_curves(events(2_000, [f"m{n}" for n in range(names)]), runs)
    assert all(most * 0.8 < len(steps) <= most for steps, _ in curves.values())
    assert most == FEWEST_POINTS or runs * names * most <= PAGE_POINTS
