"""A saved config may name only the classes of the group that they stand in."""

import copy
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import tangka_match
from helpers.configs import compose_config
from helpers.registries import empty_registry
from tangka_match.config.conf_folder import conf_dir, group_options
from tangka_match.config.saved_targets import check_saved_targets
from tangka_match.errors import ConfigError
from tangka_match.models import VSE

GROUPS = ("model", "loss", "optimizer", "scheduler", "callbacks", "data", "data/tokenizer", "distillation")
CALLS_NUMPY = {"_target_": "numpy.load", "file": "evil.npy", "allow_pickle": True}
ATTACKS = {
    "model": "os.mkdir",
    "model ": "tangka_match.models.torch.hub.load",
    "loss": "numpy.load",
    "loss ": "torch.nn.MSELoss",
    "loss of another module": "tangka_match.losses.base.torch.load",
    "loss of another kind": "tangka_match.models.VSE",
    "loss imported by a module of the package": "tangka_match.losses.base.nn.Module",
    "optimizer": "torch.optim.swa_utils.AveragedModel",
    "optimizer ": "torch.hub.load",
    "scheduler": "subprocess.Popen",
    "scheduler ": "tangka_match.training.optimisation.parameter_groups",
    "callbacks.mine": "this_module_must_not_be_imported.Callback",
    "callbacks.validation_lines": "pytorch_lightning.Trainer",
    "data": "tangka_match.demo.writer.DemoWriter",
    "data.writer": "os.system",
    "data.tokenizer": "builtins.exec",
    "distillation.loss": "pickle.load",
    "trainer": "pytorch_lightning.Trainer",
    "trainer.plugins": "os.mkdir",
    "logger": "os.mkdir",
    "name": "os.mkdir",
    "unknown_group": "os.mkdir",
}


def check(config, named_again=None):
    check_saved_targets("runs/x/config.yaml", OmegaConf.create(config), named_again or {}, "resume=last")


@pytest.fixture(scope="module")
def composed():
    return OmegaConf.to_container(compose_config("+experiment=debug"), resolve=False)


@pytest.fixture
def config(composed):
    return copy.deepcopy(composed)


@pytest.mark.parametrize("group", GROUPS)
def test_everything_in_conf_is_allowed(config, group):
    folder = Path(conf_dir()) / group
    options = group_options(folder)
    assert options
    for option in options:
        chosen = OmegaConf.load(folder / f"{option}.yaml")
        chosen.pop("defaults", None)
        whole = OmegaConf.create(config | {"model": config["model"] | {"text_model": "bert"}})
        OmegaConf.update(whole, group.replace("/", "."), chosen, force_add=True)
        check(whole)


@pytest.mark.parametrize("place", ATTACKS)
def test_classes_of_other_groups_and_packages_are_refused_and_not_imported(config, place):
    name, target = place.split(" ")[0], ATTACKS[place]
    attacked = OmegaConf.create(config)
    OmegaConf.update(attacked, name, {"_target_": target}, force_add=True)
    before = set(sys.modules)
    with pytest.raises(ConfigError, match=r"runs/x/config\.yaml names code that a saved file") as caught:
        check(attacked)
    assert f"{name}._target_={target!r}" in str(caught.value)
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "nested",
    [
        {"loss": {"parts": {"evil": CALLS_NUMPY}}},
        {"model": {"embed_dim": CALLS_NUMPY}},
        {"optimizer": {"betas": [CALLS_NUMPY, 1]}},
        {"tags": [CALLS_NUMPY]},
        {"loss": {"_args_": ["x"]}},
        {"loss": {"_target_": 3}},
        {"loss": {"_target_": "tangka_match.losses.HALLoss", "parts": "${evil}"}, "evil": CALLS_NUMPY},
        {"callbacks": {"mine": "${oc.create:'{_target_: os.mkdir}'}"}},
        {"callbacks": {"mine": r"\${oc.create:'{_target_: os.mkdir}'}"}},
    ],
    ids=str,
)
def test_nested_and_interpolated_attacks(config, nested):
    with pytest.raises(ConfigError, match="may not choose"):
        check(OmegaConf.merge(OmegaConf.create(config), OmegaConf.create(nested)))


def test_a_name_given_again_is_allowed_if_it_is_the_same(config):
    config["callbacks"]["mine"] = {"_target_": "my_package.Mine"}
    with pytest.raises(ConfigError, match=r"name it again: resume=last '\+\+callbacks.mine._target_=my_package.Mine'"):
        check(config)
    check(config, {"callbacks.mine._target_": "my_package.Mine"})
    with pytest.raises(ConfigError, match=r"callbacks\.mine"):
        check(config, {"callbacks.mine._target_": "my_package.Other"})


def test_registered_names_are_allowed_in_their_group_only(config):
    with empty_registry():
        tangka_match.register_matcher("mine", VSE)
        check(config | {"model": {"_target_": "mine"}})
        with pytest.raises(ConfigError, match=r"loss\._target_='mine'"):
            check(config | {"loss": {"_target_": "mine"}})


def test_moved_names_of_version_0_1_are_allowed(config):
    check(config | {"scheduler": {"_target_": "tangka_match.training.schedules.warmup_cosine"}})


@pytest.mark.parametrize(
    "target", ["${debug.${scheduler._target_}}", "${scheduler._target_}", "${oc.env:HOME}", "x${now:%S}"]
)
def test_a_class_is_never_the_result_of_an_interpolation(config, target):
    """Moved names are replaced between the check and the build, so that ${scheduler._target_} has two values."""
    config["scheduler"]["_target_"] = "tangka_match.training.schedules.warmup_cosine"
    config["callbacks"] = {"x": {"_target_": target}}
    with pytest.raises(ConfigError, match=r"callbacks\.x\._target_=.*an interpolation may only name another value"):
        check(config)


@pytest.mark.parametrize("value", ["${debug.node}", "${oc.decode:x}", "${paths.${name}}", "${now:%S}"])
def test_interpolations_of_nodes_and_resolvers_are_refused(config, value):
    config["debug"] = {"node": {"_target_": "tangka_match.training.callbacks.ValidationLines"}}
    config["callbacks"] = {"x": value}
    with pytest.raises(ConfigError, match=r"callbacks\.x="):
        check(config)
