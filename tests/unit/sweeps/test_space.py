import itertools

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from helpers.configs import compose_config
from tangka_match.errors import ConfigError
from tangka_match.sweeps.points import read_sweep_settings
from tangka_match.sweeps.space import MAX_CORNERS, choices, interval, space_corners, split_space


def split(*words, config=()):
    space = read_sweep_settings(compose_config(*config)).space if config else {}
    overrides = [*(f"{name}={text}" for name, text in space.items()), *words]
    return split_space(OverridesParser.create().parse_overrides(overrides))


@pytest.mark.parametrize(
    ("word", "distribution"),
    [
        ("a=interval(0.1, 0.4)", FloatDistribution(0.1, 0.4)),
        ("a=int(interval(1, 4))", IntDistribution(1, 4)),
        ("a=interval(1, 4)", FloatDistribution(1.0, 4.0)),
        ("a=tag(log, interval(1e-4, 1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("a=range(2, 9, 2)", IntDistribution(2, 8, step=2)),
        ("a=range(0.0, 0.5, 0.1)", FloatDistribution(0.0, 0.4, step=0.1)),
        ("a=0.1,0.2", CategoricalDistribution(["0.1", "0.2"])),
        ("a=choice(x,y)", CategoricalDistribution(["x", "y"])),
        ("model=vse,vse_tiny", CategoricalDistribution(["vse", "vse_tiny"])),
        ("a=[1,2],[3,4]", CategoricalDistribution(["[1,2]", "[3,4]"])),
    ],
)
def test_override_becomes_dimension(word, distribution):
    fixed, (dimension,) = split("seed=3", word)
    assert fixed == ["seed=3"]
    assert (dimension.name, dimension.distribution) == (word.split("=")[0], distribution)


def test_command_line_replaces_dimension_of_config():
    fixed, space = split("optimizer.lr=1e-3,2e-3", "loss.margin=0.2", config=("sweep=lr_margin",))
    assert [(d.name, type(d.distribution)) for d in space] == [("optimizer.lr", CategoricalDistribution)]
    assert fixed == ["loss.margin=0.2"]


def test_space_of_sweep_regularisation():
    _, space = split(config=("sweep=regularisation",))
    found = {d.name: (d.distribution.low, d.distribution.high, d.distribution.log) for d in space}
    assert found == {
        "optimizer.lr": (1e-4, 2e-3, True),
        "optimizer.weight_decay": (1e-4, 1.0, True),
        "model.dropout": (0.0, 0.6, False),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("seed=3",), r"hydra/sweeper=study searches nothing: choose a space"),
        (("loss.margin=interval(0.4, 0.1)",), r"loss\.margin: the lower bound 0\.4 is above the upper bound 0\.1"),
        (("a=range(9, 2)",), r"a: the lower bound 9 is above the upper bound 2"),
        (
            ("a=tag(log, interval(0, 1.0))",),
            r"a: the lower bound of a search on a logarithmic scale is 0.0; it must",
        ),
    ],
)
def test_invalid_space_is_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        split(*words)


def test_corners_of_space_are_all_combinations():
    _, space = split("a=interval(0.1, 0.4)", "b=x,y,z")
    found = [tuple(corner) for corner in space_corners(space)]
    assert found == [(f"a={a}", f"b={b}") for a in ("0.1", "0.4") for b in "xyz"]


def test_corners_of_a_large_space_hold_every_corner_and_pair():
    _, space = split(*(f"s{n}=interval(0.1, 0.4)" for n in range(9)))
    corners = space_corners(space)
    pairs = {pair for corner in corners for pair in itertools.combinations(corner, 2)}
    assert len(corners) <= 10 + MAX_CORNERS < 2**9
    assert len(pairs) == 4 * (9 * 8 // 2)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0.4, 0.1), {}, r"loss\.margin: the lower bound 0\.4 is above the upper bound 0\.1: swap them"),
        (
            (0.0, 0.1),
            {"log": True},
            r"loss\.margin: the lower bound of a search on a logarithmic scale is 0\.0",
        ),
        ((1, 9), {"log": True, "step": 2}, r"loss\.margin: a range with steps .* use interval\(1, 9\)"),
    ],
)
def test_invalid_interval_is_refused(arguments, options, message):
    with pytest.raises(ConfigError, match=message):
        interval("loss.margin", *arguments, **options)


def test_empty_choices_are_refused():
    with pytest.raises(ConfigError, match="model: no values to choose from"):
        choices("model", [])


def test_corners_of_dimension_are_its_bounds_or_choices():
    assert interval("a", 0.1, 0.4).corners() == ["0.1", "0.4"]
    assert interval("a", 1, 4, whole=True).corners() == ["1", "4"]
    assert choices("a", ["x", "y", "x"]).corners() == ["x", "y"]


def test_grid_has_every_value():
    assert choices("a", ["x", "y"]).grid() == ["x", "y"]
    assert interval("a", 1, 7, whole=True, step=3).grid() == [1, 4, 7]
    assert interval("a", 0.0, 1.0, step=0.25).grid() == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_interval_has_no_grid():
    with pytest.raises(ConfigError, match=r"a: sweep\.sampler=grid cannot enumerate an interval: .* \(a=0\.1,0\.2\)"):
        interval("a", 0.1, 0.4).grid()


@pytest.mark.parametrize(
    ("dimension", "count"),
    [
        (choices("a", ["x", "y", "x"]), 2),
        (interval("a", 1, 7, whole=True, step=3), 3),
        (interval("a", 1, 8, whole=True, log=True), 8),
        (interval("a", 0.0, 0.3, step=0.1), 4),
        (interval("a", 0.0, 0.3), None),
    ],
)
def test_number_of_values(dimension, count):
    assert dimension.count == count
    assert count is None or len(dimension.grid()) == count
