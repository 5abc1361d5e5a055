from importlib import import_module

import pytest

from tangka_match.records import setting_names
from tangka_match.records.run_folder import config_hash
from tangka_match.records.setting_names import ADDED_SETTINGS, with_current_targets, with_first_names

CONFIG = {
    "seed": 0,
    "trainer": {"max_epochs": 3},
    "training": {"guard": True},
    "distillation": {"weight": 0.0},
    "loss": {"margin": 0.2},
    "data": {"k": 1},
}


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


# Every ``_target_`` of this package in ``conf/`` of version 0.1.
FIRST_TARGETS = [
    "data.datamodule.RegionTextDataModule",
    "data.demo.writer.DemoWriter",
    "data.piece_tokenizer.PieceTokenizer",
    "data.tokenizer.JiebaTokenizer",
    "losses.AlignmentUniformityLoss",
    "losses.BlendLoss",
    "losses.CurriculumLoss",
    "losses.HALLoss",
    "losses.InfoNCELoss",
    "losses.MomentumQueueLoss",
    "losses.MultiPositiveInfoNCELoss",
    "losses.RankDistillationLoss",
    "losses.ScoreDistillationLoss",
    "losses.SigmoidLoss",
    "losses.SoftLabelLoss",
    "losses.TripletMarginLoss",
    "models.CCA",
    "models.ChineseCLIP",
    "models.CrossModalTransformer",
    "models.DualEncoder",
    "models.DualPath",
    "models.PretrainedText",
    "models.SCAN",
    "models.SGRAF",
    "models.VSE",
    "training.schedules.warmup_constant",
    "training.schedules.warmup_cosine",
    "training.schedules.warmup_step_decay",
]


@pytest.mark.parametrize("target", FIRST_TARGETS)
def test_every_target_of_version_0_1_can_be_imported(target):
    current = with_current_targets({"_target_": f"tangka_match.{target}"})["_target_"]
    module, _, name = current.rpartition(".")
    assert callable(getattr(import_module(module), name))
