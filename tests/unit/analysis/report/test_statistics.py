"""Statistics of the page, run in Chromium and compared with worked examples and scipy."""

import numpy as np
import pytest
from scipy import stats

from helpers.browser import browsing
from tangka_match.analysis.script_bundle import bundle


@pytest.fixture(scope="module")
def call():
    with browsing() as browser:
        page = browser.new_page()

        def evaluate(name, *arguments):
            return page.evaluate(
                f"(given) => {{ {bundle('report/statistics')} return {name}(...given); }}", list(arguments)
            )

        yield evaluate


def test_mean_and_sample_deviation(call):
    assert call("mean", [1, 2, 6]) == 3
    assert call("std", [1, 2, 6]) == pytest.approx(7**0.5)
    assert (call("mean", []), call("std", [5])) == (None, None)


def test_smoothing_starts_at_first_value_and_keeps_constants(call):
    assert call("smooth", [4, 4, 4], 0.9) == pytest.approx([4, 4, 4])
    assert call("smooth", [0, 3], 0.5) == pytest.approx([0, 2])
    assert call("smooth", [1, 9], 0) == [1, 9]


def test_mean_curve_covers_the_common_range(call):
    found = call("meanCurve", [[[0, 10, 20], [0, 10, 20]], [[5, 15], [7, 17]]])
    assert found == {"xs": [5, 10, 15], "means": [6, 11, 16], "stds": pytest.approx([2**0.5] * 3)}


def test_importance_is_epsilon_squared(call):
    """Levels {1, 2} and {5, 6}: sum of squares between 16, within 1, total 17, noise 1/2; (16 - 1/2) / 17."""
    assert call("importance", ["a", "a", "b", "b"], [1, 2, 5, 6]) == pytest.approx(15.5 / 17)
    generator = np.random.default_rng(0)
    values = generator.normal(size=30) + np.repeat([0.0, 1.0, 3.0], 10)
    f = stats.f_oneway(*values.reshape(3, 10)).statistic
    expected = (2 * f - 2) / (2 * f + 27)
    assert call("importance", np.repeat([1.5, 2.5, 9.0], 10).tolist(), values.tolist()) == pytest.approx(expected)


def test_importance_detects_an_optimum_in_the_middle(call):
    xs = np.linspace(-1, 1, 40)
    assert call("importance", xs.tolist(), (xs**2).tolist()) > 0.6
    assert abs(call("rankCorrelation", xs.tolist(), (xs**2).tolist())) < 0.1


@pytest.mark.parametrize("settings", [["a"] * 4, ["a", "b", "c", "d"]])
def test_importance_is_null_if_undefined(call, settings):
    assert call("importance", settings, [1, 2, 3, 4]) is None


def test_rank_correlation_with_ties(call):
    generator = np.random.default_rng(1)
    a, b = generator.integers(0, 5, 30), generator.integers(0, 5, 30)
    assert call("rankCorrelation", a.tolist(), b.tolist()) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert call("rankCorrelation", [1, 1], [1, 2]) is None


def test_pareto_front_contains_the_undominated_points(call):
    points = [(1, 5), (2, 4), (2, 7), (3, 7), (4, 9), (1, 5), (0.5, 1)]
    front = call("paretoFront", [{"cost": cost, "gain": gain} for cost, gain in points])
    dominated = [any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in points) for cost, gain in points]
    assert sorted(front) == [n for n, is_dominated in enumerate(dominated) if not is_dominated] == [0, 2, 4, 5, 6]
