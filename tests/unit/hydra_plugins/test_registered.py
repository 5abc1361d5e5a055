"""Hydra finds the sweepers and the launcher, and the grid is the default."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper

from tangka_match.config.conf_folder import conf_dir


def hydra_node(*overrides):
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True).hydra


@pytest.mark.parametrize(
    ("overrides", "name"),
    [((), "GridSweeper"), (("hydra/sweeper=study",), "StudySweeper")],
)
def test_sweeper_is_registered(overrides, name):
    assert hydra_node(*overrides).sweeper._target_ == f"hydra_plugins.tangka_match_sweeps.sweepers.{name}"
    assert name in {plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)}


def test_local_pool_is_registered():
    node = hydra_node("hydra/launcher=local_pool", "hydra.launcher.trials_per_gpu=3", "hydra.launcher.gpus=[1]")
    assert (node.launcher.processes, list(node.launcher.gpus), node.launcher.trials_per_gpu) == (None, [1], 3)
    assert "LocalPoolLauncher" in {plugin.__name__ for plugin in Plugins.instance().discover(Launcher)}
