import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tangka_match.data.pair_sets import lay_out, most_together, spread


@pytest.mark.parametrize(
    ("own", "further", "drawn"),
    [
        (2910, [], [2910]),
        (2910, [(29_995, 0.5)], [2910, 2910]),
        (2910, [(29_995, 0.8)], [2910, 11_640]),
        (100, [(10, 0.25), (10, 0.25)], [100, 50, 50]),
        (1, [(10, 0.001)], [1, 1]),  # never none
    ],
)
def test_an_epoch_goes_once_through_the_own_pairs(own, further, drawn):
    sets = lay_out(own, further)
    assert [part.drawn for part in sets] == drawn
    assert [part.first for part in sets] == np.cumsum([0, own, *(count for count, _ in further)])[:-1].tolist()


@given(st.lists(st.integers(1, 80), min_size=1, max_size=4), st.integers(1, 40), st.integers(0, 200))
def test_every_stretch_has_the_share_of_each_set(drawn, length, start):
    places = spread(drawn)
    assert np.bincount(places).tolist() == drawn
    stretch = places[start : start + length]
    for number, count in enumerate(drawn):
        share, further = count / sum(drawn), len(drawn) - 1
        assert abs((stretch == number).sum() - share * len(stretch)) <= 1 + max(0, further - 1) * share + 1e-9


def test_most_together_counts_the_short_batch_too():
    assert most_together(np.array([0, 0, 1, 1, 0, 1, 1]), batch_size=5) == [3, 2]
