import math

import numpy as np
import pytest

from tangka_match.data.difficulty import competence, word_rarity
from tangka_match.errors import ConfigError


def caption(*words):
    return np.array([1, *words, 2])


def test_rarity_by_hand():
    """Counts: word 5 four times, word 6 once, word 9 three times, of eight words."""
    rarity = word_rarity([caption(5, 5, 6), caption(9), caption(5, 9, 9), caption(5)])
    p5, p6, p9 = 4 / 8, 1 / 8, 3 / 8
    expected = [-2 * math.log(p5) - math.log(p6), -math.log(p9), -math.log(p5) - 2 * math.log(p9), -math.log(p5)]
    np.testing.assert_allclose(rarity, expected)


def test_start_and_end_do_not_count():
    """They would make every other word look rarer than it is, long captions most."""
    assert word_rarity([caption(5), caption(5, 5)]).tolist() == [0, 0]


def test_longer_and_rarer_is_harder():
    easy, longer, rarer = word_rarity([caption(5, 6), caption(5, 6, 5), caption(5, 7)])
    assert easy < longer
    assert easy < rarer


def test_no_captions():
    assert word_rarity([]).shape == (0,)


@pytest.mark.parametrize(
    ("progress", "initial", "shape", "expected"),
    [
        (0, 0.01, 2, 0.01),
        (0.25, 0.01, 2, math.sqrt(0.25 * (1 - 0.01**2) + 0.01**2)),
        (0.5, 0.2, 1, 0.6),
        (0.5, 0.2, 3, (0.5 * (1 - 0.2**3) + 0.2**3) ** (1 / 3)),
        (1, 0.3, 2, 1),
        (9, 0.3, 2, 1),
        (0, 1, 2, 1),
    ],
)
def test_competence(progress, initial, shape, expected):
    assert competence(progress, initial, shape) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"progress": -0.1, "initial": 0.5}, "progress=-0.1"),
        ({"progress": 0, "initial": 0}, "initial=0"),
        ({"progress": 0, "initial": 1.5}, "initial=1.5"),
        ({"progress": 0, "initial": 0.5, "shape": 0.5}, "shape=0.5"),
    ],
)
def test_competence_out_of_range(setting, said):
    with pytest.raises(ConfigError, match=f"{said}.*allowed: progress ≥ 0, 0 < initial ≤ 1, shape ≥ 1"):
        competence(**setting)
