import sys
import textwrap

import pytest
import torch
from torch import nn

import tangka_match
from helpers.registries import empty_registry
from tangka_match.errors import ConfigError
from tangka_match.registry import find_registered, load_plugins, registered_name, registered_names


class First(nn.Module):
    """A class to register."""


class Second(nn.Module):
    """Another one."""


@pytest.fixture(autouse=True)
def _registry():
    with empty_registry():
        yield


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Write a module and the metadata of a package that declares it as a plugin."""

    def write(module, text, package="my-package"):
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        info = tmp_path / f"{package.replace('-', '_')}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[tangka_match.plugins]\nany = {module}\n", encoding="utf-8")
        monkeypatch.delitem(sys.modules, module, raising=False)

    monkeypatch.syspath_prepend(tmp_path)
    return write


@pytest.mark.parametrize("kind", ["matcher", "loss", "optimizer", "scheduler", "callback", "tokenizer"])
def test_register_as_decorator_and_as_function(kind):
    register = getattr(tangka_match, f"register_{kind}")
    assert register("first")(First) is First
    assert register("second", Second) is Second
    assert registered_names(kind) == ["first", "second"]
    assert find_registered("first").target is First
    assert find_registered("first").kind == kind
    assert registered_name(Second) == "second"


def test_names_of_other_kinds_are_left_out():
    tangka_match.register_loss("first", First)
    tangka_match.register_matcher("second", Second)
    assert registered_names("matcher") == ["second"]
    assert registered_names() == ["first", "second"]


def test_unregistered_names_and_classes_give_none():
    assert find_registered("nothing") is None
    assert registered_name(torch.optim.Adam) is None


@pytest.mark.parametrize("name", ["", "a.b", "1st", "-x", "模型"])
def test_refused_names(name):
    with pytest.raises(ConfigError, match=r"register_matcher\(.*\): allowed are letters"):
        tangka_match.register_matcher(name, First)


def test_name_is_unique_across_kinds():
    tangka_match.register_matcher("mine", First)
    tangka_match.register_matcher("mine", First)  # as a reloaded module does
    with pytest.raises(ConfigError, match=r"register_loss\('mine'\): the name is taken by the matcher .*First; choose"):
        tangka_match.register_loss("mine", First)
    with pytest.raises(ConfigError, match=r"the name is taken by the matcher .*First"):
        tangka_match.register_matcher("mine", Second)


def test_classes_inside_functions_are_refused():
    class Local(nn.Module):
        pass

    with pytest.raises(ConfigError, match=r"register_matcher\('mine'\): .*Local is defined inside a function"):
        tangka_match.register_matcher("mine", Local)


def test_plugins_are_loaded_once_and_only_for_unknown_names(install):
    install("counted", "import tangka_match, sys\nsys.modules['tangka_match'].register_loss('theirs', dict)\n")
    tangka_match.register_loss("mine", First)
    assert find_registered("mine").target is First
    assert "counted" not in sys.modules
    assert find_registered("theirs").target is dict
    del sys.modules["counted"]
    load_plugins()
    assert "counted" not in sys.modules


def test_error_in_a_plugin_names_its_package(install):
    install("broken", "raise ValueError('no licence')", package="their-package")
    with pytest.raises(
        ConfigError,
        match=r"package their-package: its plugin 'broken' .* cannot be loaded \(ValueError: no licence\); repair or",
    ):
        find_registered("theirs")
