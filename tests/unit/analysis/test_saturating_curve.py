import numpy as np
import pytest

from tangka_match.analysis.saturating_curve import MOST_TIMES, SaturatingCurve
from tangka_match.errors import ConfigError

SIZES = [728, 1455, 2182, 2910]


def curve_of(recall, spread=0.3, sizes=SIZES, freedom=8):
    return SaturatingCurve(sizes, [recall(n) for n in sizes], spread**2 * np.eye(len(sizes)), freedom)


def test_points_of_a_power_law_give_it_back():
    curve = curve_of(lambda n: 90 - 300 * n**-0.25, spread=0.05)
    for times in (0.3, 1, 2, 4):
        n = times * 2910
        assert curve.at(n) == pytest.approx(90 - 300 * n**-0.25, abs=0.3)
        low, high = curve.interval_at(n)
        assert low <= 90 - 300 * n**-0.25 <= high
        assert high - low < 2
    assert curve.misfit > 0.8
    needed = curve.pairs_for(60)
    assert needed.pairs == pytest.approx((300 / 30) ** 4, rel=0.05)  # 90 - 300 · n^-1/4 = 60 at n = 10,000
    assert needed.low <= 10_000 <= needed.high


def test_flat_points_never_reach_the_target():
    curve = curve_of(lambda n: 37.0)
    assert curve.pairs_for(70) == (None, None, None)
    assert curve.interval_at(MOST_TIMES * 2910)[1] < 70
    assert curve.at(10 * 2910) == pytest.approx(37, abs=0.1)
    assert curve.misfit > 0.9


def test_flat_points_above_the_target_are_there_from_the_first_pair_on():
    assert curve_of(lambda n: 60.0).pairs_for(58).pairs == 1.0


def test_an_asymptote_below_the_target_is_not_reachable_and_one_above_is():
    assert curve_of(lambda n: 50 - 2e6 * n**-2.0, spread=0.1).pairs_for(70).low is None
    assert curve_of(lambda n: 50 - 2e6 * n**-2.0, spread=0.1).pairs_for(49).high < 2910


def test_noise_opens_the_interval_to_infinity():
    quiet, loud = (curve_of(lambda n: 90 - 300 * n**-0.25, spread).pairs_for(60) for spread in (0.05, 2.0))
    assert quiet.high is not None
    assert loud.low < quiet.low < quiet.high
    assert loud.high is None


def test_a_target_below_what_is_reached_needs_fewer_pairs():
    needed = curve_of(lambda n: 90 - 300 * n**-0.25).pairs_for(40)
    assert needed.pairs == pytest.approx((300 / 50) ** 4, rel=0.1)
    assert needed.high < 2910


def test_growth_that_speeds_up_is_a_misfit():
    curve = curve_of(lambda n: 5 + 40 * (n / 2910) ** 3)
    assert curve.misfit < 0.001
    assert curve_of(lambda n: 40.0, sizes=SIZES[:3]).misfit > 0.9


def test_errors_that_all_points_share_widen_but_do_not_bend_the_curve():
    """A draw of queries that lifts every point: the height is uncertain, its growth is not."""
    points = [20 + 5 * np.log(n / 728) for n in SIZES]
    own = SaturatingCurve(SIZES, points, 4.0 * np.eye(4), 8)
    shared = SaturatingCurve(SIZES, points, 0.01 * np.eye(4) + 3.99, 8)
    widths = [high - low for low, high in (curve.interval_at(8 * 2910) for curve in (own, shared))]
    assert widths[1] < 0.7 * widths[0]


def test_exception_too_few_sizes():
    with pytest.raises(ConfigError, match="a curve through 2 training sizes would be a guess; give at least 3"):
        SaturatingCurve([100, 200, 200], [1, 2, 2], np.eye(3), 3)
