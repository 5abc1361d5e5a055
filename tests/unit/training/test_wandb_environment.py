import pytest

from helpers.configs import compose_config
from tangka_match.config.build import build_plan
from tangka_match.errors import ConfigError
from tangka_match.training.settings import LoggerSettings
from tangka_match.training.wandb_environment import mode_of, name_or, project_of, tags_of, wandb_faults

VARIABLES = ("PROJECT", "MODE", "TAGS", "NAME")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Return a function that sets variables of W&B; all others are unset."""
    for name in VARIABLES:
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    return lambda **variables: [monkeypatch.setenv(f"WANDB_{name}", value) for name, value in variables.items()]


def test_project_of_the_environment_is_below_the_command_line(environment):
    assert project_of(compose_config("logger=wandb").logger.project) == "tangka_match"
    environment(PROJECT="mine")
    assert project_of(compose_config("logger=wandb").logger.project) == "mine"
    assert project_of(compose_config("logger=wandb", "logger.project=typed").logger.project) == "typed"


@pytest.mark.parametrize(
    ("variable", "default", "online"),
    [("", "offline", "online"), ("online", "online", "online"), ("run", "online", "online"),
     ("dryrun", "offline", "online"), ("disabled", "disabled", "online"), ("shared", "shared", "online")],
)  # fmt: skip
def test_mode_of_the_environment_is_below_the_command_line(environment, variable, default, online):
    environment(MODE=variable)
    assert mode_of(LoggerSettings(kind="wandb")) == default
    assert mode_of(LoggerSettings(**compose_config("logger=wandb_online").logger)) == online
    assert mode_of(LoggerSettings(kind="wandb", offline=True)) == "offline"


def test_tags_and_names_of_the_environment(environment):
    environment(TAGS="b, c,,a", NAME="")
    assert tags_of(["a"]) == ["a", "b", "c"]
    assert name_or("WANDB_NAME", "default") == "default"
    environment(NAME="mine")
    assert name_or("WANDB_NAME", "default") == "mine"


@pytest.mark.parametrize(
    ("overrides", "variables", "message"),
    [
        (("logger.project=a/b",), {}, r"logger\.project='a/b': a W&B project has 1 to 128 characters, and none of"),
        (("logger.project=''",), {}, r"logger\.project=''"),
        ((f"logger.project={'a' * 129}",), {}, r"logger\.project='aaa"),
        ((), {"PROJECT": "50%"}, r"WANDB_PROJECT='50%': a W&B project"),
        ((), {"MODE": "ofline"}, r"WANDB_MODE='ofline': allowed are online, run, offline, dryrun, shared, disabled"),
        ((f"tags=[{'a' * 65}]",), {}, r"tag 'aaa.* a W&B tag has 1 to 64 characters"),
        ((), {"TAGS": "b" * 65}, r"tag 'bbb.*' of tags, name or WANDB_TAGS"),
        ((f"name={'n' * 65}",), {}, r"tag 'nnn.*'"),
    ],
)
def test_what_wandb_refuses_is_refused_before_a_run_begins(environment, overrides, variables, message):
    environment(**variables)
    with pytest.raises(ConfigError, match=message) as caught:
        build_plan(compose_config("+experiment=debug", "logger=wandb", "data.root=set", *overrides))
    assert "login" not in str(caught.value)


def test_other_loggers_are_not_checked(environment):
    environment(PROJECT="a/b", MODE="x")
    assert wandb_faults(LoggerSettings(kind="csv"), ["a" * 99]) == []
