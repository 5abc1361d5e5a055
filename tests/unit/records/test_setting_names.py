import pytest

from tangka_match.records import setting_names
from tangka_match.records.run_folder import config_hash
from tangka_match.records.setting_names import ADDED_SETTINGS, with_first_names

CONFIG = {"seed": 0, "trainer": {"max_epochs": 3}, "training": {"guard": True}, "loss": {"margin": 0.2}}


def config_with(name, value):
    group, _, key = name.rpartition(".")
    return {**CONFIG, group: {**CONFIG[group], key: value}} if group else {**CONFIG, name: value}


@pytest.mark.parametrize("name", ADDED_SETTINGS)
def test_added_setting_changes_hash_only_if_not_at_default(name):
    default, other = (config_with(name, value) for value in (ADDED_SETTINGS[name], "another value"))
    assert config_hash(default) == config_hash(CONFIG) != config_hash(other)


def test_added_group_is_dropped_only_as_a_whole(monkeypatch):
    group = {"early_stopping": {"patience": None}, "swa": None}
    monkeypatch.setitem(ADDED_SETTINGS, "callbacks", group)
    assert with_first_names({**CONFIG, "callbacks": group}) == CONFIG
    changed = {**CONFIG, "callbacks": {**group, "swa": {"start": 3}}}
    assert with_first_names(changed) == changed


def test_renamed_setting_keeps_its_first_name_in_hash(monkeypatch):
    monkeypatch.setitem(setting_names.RENAMED_SETTINGS, "loss.margin", "loss.min_gap")
    renamed = {**CONFIG, "loss": {"min_gap": 0.2}}
    assert config_hash(renamed) == config_hash(CONFIG)


def test_renamed_setting_may_move_to_another_group(monkeypatch):
    monkeypatch.setitem(setting_names.RENAMED_SETTINGS, "training.guard", "callbacks.guard.enabled")
    config = {"callbacks": {"guard": {"enabled": True}}}
    assert with_first_names(config)["training"] == {"guard": True}


def test_with_first_names_leaves_its_argument_unchanged():
    config = {"training": {"compile": False}, "_target_": "a"}
    with_first_names(config)
    assert config == {"training": {"compile": False}, "_target_": "a"}
