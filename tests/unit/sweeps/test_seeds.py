import pytest
from scipy import stats

from tangka_match.sweeps.seeds import interval_of_mean, intervals_of_means, mean_and_spread, student_t


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 30, 200])
def test_student_t_is_scipys(degrees):
    assert student_t(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-4)
    assert student_t(degrees, 0.8) == pytest.approx(stats.t.ppf(0.9, degrees), rel=1e-4)


def test_the_interval_is_scipys():
    values = [36.1, 38.4, 37.2, 39.9]
    means, std = mean_and_spread([{"rsum": value} for value in values])
    expected = stats.t.interval(0.95, 3, loc=sum(values) / 4, scale=stats.sem(values))
    assert interval_of_mean(means["rsum"], std["rsum"], 4) == pytest.approx(expected, rel=1e-4)


def test_an_interval_ends_where_there_is_nothing_more():
    means, std = mean_and_spread([{"mean_r1": 1.0, "i2t_median_rank": 2.0}, {"mean_r1": 3.0, "i2t_median_rank": 9.0}])
    assert interval_of_mean(means["mean_r1"], std["mean_r1"], 2) == pytest.approx((-10.7, 14.7), abs=0.1)
    intervals = intervals_of_means(means, std, 2)
    assert intervals["mean_r1"] == pytest.approx((0.0, 14.7), abs=0.1)
    assert intervals["i2t_median_rank"][0] == 1.0


def test_a_single_seed_has_no_spread():
    assert mean_and_spread([{"rsum": 3.0}]) == ({"rsum": 3.0}, {})


def test_a_figure_that_one_seed_lacks_is_left_out():
    assert mean_and_spread([{"rsum": 1.0, "step_seconds": 0.1}, {"rsum": 3.0}])[0] == {"rsum": 2.0}
