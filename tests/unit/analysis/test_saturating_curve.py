import numpy as np
import pytest
import torch

from tangka_match.analysis.saturating_curve import MAX_EXTRAPOLATION, SaturatingCurve, measure_points
from tangka_match.errors import ConfigError
from tangka_match.metrics import Ranks, recall_at_k

IMAGES = 400
OWNERS = torch.arange(IMAGES).repeat_interleave(2)


def run(share, generator, hard=None):
    """Return ranks with a share of correct queries; ``hard`` gives the difficulty of the images, shared by runs."""
    level = torch.rand(IMAGES, generator=generator) if hard is None else hard
    i2t, t2i = (torch.where(level[rows] < share, 1, 7) for rows in (torch.arange(IMAGES), OWNERS))
    return Ranks(i2t, t2i)


def test_recalls_equal_the_metrics():
    generator = torch.Generator().manual_seed(0)
    runs = [[run(share, generator) for _ in range(3)] for share in (0.2, 0.4)]
    measured = measure_points(runs, OWNERS)
    expected = [[float(recall_at_k(r.i2t, 1) + recall_at_k(r.t2i, 1)) / 2 for r in of_size] for of_size in runs]
    np.testing.assert_allclose(measured.recalls, expected, rtol=1e-6)
    assert measured.freedom == 4


def test_failures_on_the_same_images_give_covariance():
    """Identical seeds leave the variance of the images only: that of a proportion, and a covariance between sizes."""
    hard = torch.rand(IMAGES, generator=torch.Generator().manual_seed(0))
    measured = measure_points([[run(share, None, hard)] * 2 for share in (0.4, 0.5)], OWNERS)
    shares = measured.recalls[:, 0] / 100
    # min(p, q) - p·q is the covariance of two successes of which the rarer one implies the other.
    expected = 1e4 / IMAGES * (np.minimum.outer(shares, shares) - np.multiply.outer(shares, shares))
    np.testing.assert_allclose(measured.covariance, expected, rtol=0.1)


def test_excess_seed_variance_is_added():
    """Seeds of 20 and 60 %: standard deviation 28 points, hence a standard error of 20 for their mean."""
    generator = torch.Generator().manual_seed(0)
    runs = [[run(0.2, generator), run(0.6, generator)] for _ in range(3)]
    measured = measure_points(runs, OWNERS)
    assert np.sqrt(np.diag(measured.covariance)) == pytest.approx(20, rel=0.15)
    assert abs(measured.covariance[0, 1]) < 10


def test_recalls_of_zero_have_a_positive_variance():
    nothing = Ranks(torch.full((IMAGES,), 9), torch.full((2 * IMAGES,), 9))
    measured = measure_points([[nothing] * 2] * 3, OWNERS)
    assert np.linalg.eigvalsh(measured.covariance).min() >= (50 / IMAGES) ** 2 * 0.999


@pytest.mark.parametrize(("counts", "expected"), [([1, 1, 1], "1 seeds"), ([2, 3, 2], "2, 3 seeds")])
def test_exception_seeds(counts, expected):
    one = run(0.5, torch.Generator().manual_seed(0))
    with pytest.raises(ConfigError, match=f"the sizes have {expected}; allowed: at least two"):
        measure_points([[one] * count for count in counts], OWNERS)


SIZES = [728, 1455, 2182, 2910]


def curve_of(recall, spread=0.3, sizes=SIZES, freedom=8):
    return SaturatingCurve(sizes, [recall(n) for n in sizes], spread**2 * np.eye(len(sizes)), freedom)


def test_power_law_is_recovered():
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
    assert curve.interval_at(MAX_EXTRAPOLATION * 2910)[1] < 70
    assert curve.at(10 * 2910) == pytest.approx(37, abs=0.1)
    assert curve.misfit > 0.9


def test_flat_points_above_the_target_need_one_pair():
    assert curve_of(lambda n: 60.0).pairs_for(58).pairs == 1.0


def test_target_is_reachable_only_below_the_asymptote():
    assert curve_of(lambda n: 50 - 2e6 * n**-2.0, spread=0.1).pairs_for(70).low is None
    assert curve_of(lambda n: 50 - 2e6 * n**-2.0, spread=0.1).pairs_for(49).high < 2910


def test_noise_makes_the_interval_unbounded():
    precise, noisy = (curve_of(lambda n: 90 - 300 * n**-0.25, spread).pairs_for(60) for spread in (0.05, 2.0))
    assert precise.high is not None
    assert noisy.low < precise.low < precise.high
    assert noisy.high is None


def test_reached_target_needs_fewer_pairs():
    needed = curve_of(lambda n: 90 - 300 * n**-0.25).pairs_for(40)
    assert needed.pairs == pytest.approx((300 / 50) ** 4, rel=0.1)
    assert needed.high < 2910


def test_accelerating_growth_does_not_fit():
    curve = curve_of(lambda n: 5 + 40 * (n / 2910) ** 3)
    assert curve.misfit < 0.001
    assert curve_of(lambda n: 40.0, sizes=SIZES[:3]).misfit > 0.9


def test_shared_errors_affect_height_not_growth():
    """A sample of queries that raises all points: the height is uncertain, the growth is not."""
    points = [20 + 5 * np.log(n / 728) for n in SIZES]
    own = SaturatingCurve(SIZES, points, 4.0 * np.eye(4), 8)
    shared = SaturatingCurve(SIZES, points, 0.01 * np.eye(4) + 3.99, 8)
    widths = [high - low for low, high in (curve.interval_at(8 * 2910) for curve in (own, shared))]
    assert widths[1] < 0.7 * widths[0]


def test_exception_too_few_sizes():
    with pytest.raises(ConfigError, match="2 training sizes do not determine a learning curve; use at least 3"):
        SaturatingCurve([100, 200, 200], [1, 2, 2], np.eye(3), 3)
