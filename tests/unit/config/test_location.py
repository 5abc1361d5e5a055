from pathlib import Path

import pytest

from tangka_match.config import location
from tangka_match.config.location import conf_dir


@pytest.fixture(autouse=True)
def without_variable(monkeypatch):
    monkeypatch.delenv(location.CONF_VARIABLE, raising=False)


def test_in_a_checkout_it_is_beside_src():
    checkout = Path(__file__).parents[3]
    assert conf_dir() == str(checkout / "conf")


def test_in_a_wheel_it_is_inside_the_package(monkeypatch, tmp_path):
    package = tmp_path / "lib" / "site-packages" / "tangka_match"
    monkeypatch.setattr(location, "PACKAGE", package)
    assert conf_dir() == str(package / "conf")


def test_a_conf_folder_of_somebody_else_is_not_taken(monkeypatch, tmp_path):
    package = tmp_path / "lib" / "site-packages" / "tangka_match"
    (tmp_path / "lib" / "conf").mkdir(parents=True)
    (tmp_path / "lib" / "conf" / "config.yaml").touch()
    monkeypatch.setattr(location, "PACKAGE", package)
    assert conf_dir() == str(package / "conf")


def test_the_variable_comes_first_and_becomes_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(location.CONF_VARIABLE, "mine")
    assert conf_dir() == str(tmp_path / "mine")
