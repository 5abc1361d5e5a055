import numpy as np
import pytest
import torch

from tangka_match.analysis.curve_noise import measure_points
from tangka_match.errors import ConfigError
from tangka_match.metrics import Ranks, recall_at_k

IMAGES = 400
OWNERS = torch.arange(IMAGES).repeat_interleave(2)


def run(share, generator, hard=None):
    """Ranks of a run that answers a share of the queries; ``hard`` makes images succeed and fail together."""
    level = torch.rand(IMAGES, generator=generator) if hard is None else hard
    i2t, t2i = (torch.where(level[rows] < share, 1, 7) for rows in (torch.arange(IMAGES), OWNERS))
    return Ranks(i2t, t2i)


def test_recalls_are_those_of_the_metrics():
    generator = torch.Generator().manual_seed(0)
    runs = [[run(share, generator) for _ in range(3)] for share in (0.2, 0.4)]
    measured = measure_points(runs, OWNERS)
    expected = [[float(recall_at_k(r.i2t, 1) + recall_at_k(r.t2i, 1)) / 2 for r in of_size] for of_size in runs]
    np.testing.assert_allclose(measured.recalls, expected, rtol=1e-6)
    assert measured.freedom == 4


def test_runs_that_fail_on_the_same_images_move_together():
    """Where seeds agree, only the draw of images is left: the variance of a share, and covariance between sizes."""
    hard = torch.rand(IMAGES, generator=torch.Generator().manual_seed(0))
    measured = measure_points([[run(share, None, hard)] * 2 for share in (0.4, 0.5)], OWNERS)
    shares = measured.recalls[:, 0] / 100
    # min(p, q) - p·q is the covariance of two successes of which the rarer one implies the other.
    expected = 1e4 / IMAGES * (np.minimum.outer(shares, shares) - np.multiply.outer(shares, shares))
    np.testing.assert_allclose(measured.covariance, expected, rtol=0.1)


def test_seeds_that_differ_more_than_their_answers_add_their_variance():
    """Seeds of 20 and 60 %: standard deviation 28 points, so 20 for the mean of two, whatever the queries say."""
    generator = torch.Generator().manual_seed(0)
    runs = [[run(0.2, generator), run(0.6, generator)] for _ in range(3)]
    measured = measure_points(runs, OWNERS)
    assert np.sqrt(np.diag(measured.covariance)) == pytest.approx(20, rel=0.15)
    assert abs(measured.covariance[0, 1]) < 10


def test_recalls_of_zero_everywhere_are_not_known_for_certain():
    nothing = Ranks(torch.full((IMAGES,), 9), torch.full((2 * IMAGES,), 9))
    measured = measure_points([[nothing] * 2] * 3, OWNERS)
    assert np.linalg.eigvalsh(measured.covariance).min() >= (50 / IMAGES) ** 2 * 0.999


@pytest.mark.parametrize(("counts", "said"), [([1, 1, 1], "1 seeds"), ([2, 3, 2], "2, 3 seeds")])
def test_exception_seeds(counts, said):
    one = run(0.5, torch.Generator().manual_seed(0))
    with pytest.raises(ConfigError, match=f"the sizes have {said}; allowed: at least two"):
        measure_points([[one] * count for count in counts], OWNERS)
