from pathlib import Path

import pytest

from tangka_match.config import conf_folder
from tangka_match.config.conf_folder import conf_dir, known_keys, options_with


@pytest.fixture(autouse=True)
def without_variable(monkeypatch):
    monkeypatch.delenv(conf_folder.CONF_VARIABLE, raising=False)


CHECKOUT_CONF = Path(__file__).parents[3] / "conf"


def test_conf_dir_in_a_checkout_is_beside_src():
    assert conf_dir() == str(CHECKOUT_CONF)


def test_conf_dir_in_a_wheel_is_inside_the_package(monkeypatch, tmp_path):
    package = tmp_path / "lib" / "site-packages" / "tangka_match"
    monkeypatch.setattr(conf_folder, "PACKAGE", package)
    assert conf_dir() == str(package / "conf")


def test_conf_dir_ignores_a_conf_folder_of_another_project(monkeypatch, tmp_path):
    package = tmp_path / "lib" / "site-packages" / "tangka_match"
    (tmp_path / "lib" / "conf").mkdir(parents=True)
    (tmp_path / "lib" / "conf" / "config.yaml").touch()
    monkeypatch.setattr(conf_folder, "PACKAGE", package)
    assert conf_dir() == str(package / "conf")


def test_conf_dir_from_the_environment_variable_is_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(conf_folder.CONF_VARIABLE, "mine")
    assert conf_dir() == str(tmp_path / "mine")


def test_known_keys_are_settings_only():
    keys = known_keys(CHECKOUT_CONF, "config")
    assert {"seed", "model.embed_dim", "data.tokenizer.domain_dictionary", "trainer"} <= keys
    assert not {key for key in keys if "hydra" in key or "defaults" in key or "_target_" in key or "experiment" in key}


def test_known_keys_are_those_of_the_command():
    keys = known_keys(CHECKOUT_CONF, "evaluate")
    assert {"checkpoint", "data.root"} <= keys
    assert not {key for key in keys if key.startswith(("model", "loss", "trainer"))}


@pytest.mark.parametrize(
    ("key", "group", "options"),
    [
        ("loss.margin", "loss", {"triplet", "curriculum"}),
        ("data.tokenizer.source", "data/tokenizer", {"pieces"}),
        ("callbacks.early_stopping.patience", "callbacks", {"default", "early_stopping"}),
        ("trainer.max_epochs", "trainer", {"auto", "cpu", "gpu"}),
        ("nothing", "", set()),
    ],
)
def test_options_that_have_a_setting(key, group, options):
    found = options_with(CHECKOUT_CONF, key)
    assert found[0] == group
    assert options <= set(found[1])
    assert bool(options) == bool(found[1])
