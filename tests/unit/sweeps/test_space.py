import pytest

from tangka_match.errors import ConfigError
from tangka_match.sweeps.space import choices, interval


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0.4, 0.1), {}, r"loss\.margin: the lower bound 0\.4 is above the upper bound 0\.1: swap them"),
        (
            (0.0, 0.1),
            {"log": True},
            r"loss\.margin: searched in the logarithm from 0\.0: the lower bound must be",
        ),
        ((1, 9), {"log": True, "step": 2}, r"loss\.margin: a range with steps .* use interval\(1, 9\)"),
    ],
)
def test_faults_of_an_interval(arguments, options, message):
    with pytest.raises(ConfigError, match=message):
        interval("loss.margin", *arguments, **options)


def test_no_choices():
    with pytest.raises(ConfigError, match="model: no values to choose from"):
        choices("model", [])


def test_corners_are_what_must_be_legal():
    assert interval("a", 0.1, 0.4).corners() == ["0.1", "0.4"]
    assert interval("a", 1, 4, whole=True).corners() == ["1", "4"]
    assert choices("a", ["x", "y", "x"]).corners() == ["x", "y"]


def test_a_grid_of_every_value():
    assert choices("a", ["x", "y"]).grid() == ["x", "y"]
    assert interval("a", 1, 7, whole=True, step=3).grid() == [1, 4, 7]
    assert interval("a", 0.0, 1.0, step=0.25).grid() == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_an_interval_has_no_grid():
    with pytest.raises(ConfigError, match=r"a: an interval has no end of values, .*list them \(a=0\.1,0\.2\)"):
        interval("a", 0.1, 0.4).grid()
