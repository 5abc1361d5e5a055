import pytest

from benchmarks.rows import Row
from benchmarks.timing import Timing, ratios, take_turns


@pytest.mark.parametrize(
    ("rounds", "target", "at_least", "met"),
    [
        ([1, 9, 3], 3, True, True),
        ([1, 9, 2], 3, True, False),
        ([1, 9, 3], 3, False, True),
        ([1, 9, 4], 3, False, False),
    ],
)
def test_target_is_compared_with_the_median(rounds, target, at_least, met):
    assert Row("a", "s", rounds, target, at_least).met is met


def test_row_without_target_is_neither_met_nor_missed():
    row = Row("a", "s", [2.0, 1.0, 4.0])
    assert (row.met, row.as_json()["median"]) == (None, 2.0)


def test_ratios_are_computed_per_round():
    assert ratios(Timing([2.0, 9.0]), Timing([1.0, 3.0]), work=10) == [20.0, 30.0]


def test_functions_alternate_and_the_first_round_is_a_warm_up():
    calls = []
    timings = take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert [len(timing.seconds) for timing in timings.values()] == [2, 2]
