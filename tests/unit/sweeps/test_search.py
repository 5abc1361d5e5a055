"""From Hydra's grammar to the dimensions of a study."""

from types import SimpleNamespace

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from helpers.configs import compose_config
from tangka_match.errors import ConfigError
from tangka_match.sweeps.manifest import JobRecord
from tangka_match.sweeps.points import read_sweep_settings
from tangka_match.sweeps.search import _corners, _Search, _split
from tangka_match.sweeps.session import quoted


class Grammar:
    """The part of a session that is needed here."""

    def parse(self, words):
        return OverridesParser.create().parse_overrides(words)


def split(*words, config=()):
    return _split(Grammar(), read_sweep_settings(compose_config(*config)), words)


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
def test_a_word_becomes_a_dimension(word, distribution):
    fixed, (dimension,) = split("seed=3", word)
    assert fixed == ["seed=3"]
    assert (dimension.name, dimension.distribution) == (word.split("=")[0], distribution)


def test_the_command_line_replaces_a_dimension_of_the_file():
    fixed, space = split("optimizer.lr=1e-3,2e-3", "loss.margin=0.2", config=("sweep=lr_margin",))
    assert [(d.name, type(d.distribution)) for d in space] == [("optimizer.lr", CategoricalDistribution)]
    assert fixed == ["loss.margin=0.2"]


def test_regularisation_is_searched_over_orders_of_magnitude():
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
        (("a=tag(log, interval(0, 1.0))",), r"a: searched in the logarithm from 0"),
    ],
)
def test_faults_of_a_space(words, message):
    with pytest.raises(ConfigError, match=message):
        split(*words)


def test_corners_try_every_bound_and_choice_once():
    _, space = split("a=interval(0.1, 0.4)", "b=x,y,z")
    assert _corners(space) == [["a=0.1", "b=x"], ["a=0.4", "b=x"], ["a=0.1", "b=y"], ["a=0.1", "b=z"]]


@pytest.mark.parametrize("text", ["/a b/c", "/it's", "/x,y=[z]", "/唐卡", "/back\\slash", "/ends\\'"])
def test_a_quoted_path_is_read_back_by_hydra(text):
    (override,) = Grammar().parse([f"a={quoted(text)}"])
    assert override.value() == text


@pytest.mark.parametrize(("status", "told"), [("stopped", []), ("failed", [3])])
def test_a_trial_that_was_asked_to_end_is_not_told_so_that_it_comes_again(status, told):
    seen = []
    study = SimpleNamespace(tell=lambda job: seen.append(job.number))
    job = JobRecord(3, starts=1, end={"status": status})
    _Search(None, SimpleNamespace(objectives=["mean_r1"]), study, [], 1)._tell(job, None)
    assert seen == told
