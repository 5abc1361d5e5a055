"""``conf/wandb_sweep.yaml``, read like the W&B agent does."""

from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from helpers.configs import compose_config
from tangka_match.config.build import build_plan
from tangka_match.config.conf_folder import conf_dir
from tangka_match.config.quoting import quote_as_typed
from tangka_match.metric_names import HIGHER_IS_BETTER
from tangka_match.training.wandb_environment import project_of


@pytest.fixture
def sweep():
    return yaml.safe_load((Path(conf_dir()) / "wandb_sweep.yaml").read_text("utf-8"))


def ends_of(space):
    """Return the smallest and the largest value of a parameter."""
    values = space["values"] if "values" in space else [space["min"], space["max"]]
    assert all(isinstance(value, int | float) for value in values), f"{values}: text instead of numbers"
    return values[0], values[-1]


@pytest.mark.parametrize("end", [0, 1])
def test_agent_command_trains_the_proposed_values(sweep, end):
    proposed = {name: ends_of(space)[end] for name, space in sweep["parameters"].items()}
    arguments = create_sweep_command_args({"args": {name: {"value": value} for name, value in proposed.items()}})
    filled = {"${env}": ["/usr/bin/env"], "${interpreter}": ["python"], "${program}": [sweep["program"]]}
    filled["${args_no_hyphens}"] = arguments["args_no_hyphens"]
    words = [word for part in sweep["command"] for word in filled.get(part, [part])]
    assert words[:4] == ["/usr/bin/env", "python", "-m", "tangka_match.train"]
    config = compose_config(*words[4:], "data.root=somewhere", "trainer=cpu")
    plan = build_plan(config)
    assert (plan.settings.name, plan.settings.logger.offline) == ("targeted", False)
    for name, value in proposed.items():
        node = plan.config
        for part in name.split("."):
            node = node[part]
        assert node == value


def test_metric_is_logged_by_runs_and_maximized(sweep):
    assert sweep["metric"]["goal"] == "maximize"
    assert sweep["metric"]["name"] in [f"val/{name}" for name in HIGHER_IS_BETTER]


def test_sweep_and_runs_share_a_project(sweep):
    assert sweep["project"] == project_of(compose_config("logger=wandb_online").logger.project)


@pytest.mark.parametrize(
    ("proposed", "expected"),
    [(None, None), ([0.1, None], [0.1, None]), (True, True), ("None of it", "None of it")],
)
def test_null_of_an_agent_is_null(proposed, expected):
    word = create_sweep_command_args({"args": {"callbacks": {"value": proposed}}})["args_no_hyphens"][0]
    (override,) = OverridesParser.create().parse_overrides([quote_as_typed(word)])
    assert override.value() == expected
