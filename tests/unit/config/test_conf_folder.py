from pathlib import Path

import pytest

from tangka_match.config import conf_folder
from tangka_match.config.conf_folder import conf_dir, known_keys


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
