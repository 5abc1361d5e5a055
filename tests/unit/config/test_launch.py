import os

import pytest
from omegaconf import OmegaConf

from helpers.cli import run_cli_in_process
from helpers.configs import compose_config
from tangka_match.cli import run_cli
from tangka_match.config import launch as launch_module
from tangka_match.config.check import check_config
from tangka_match.config.launch import RESUMED_RUN_VARIABLE, keep_absolute_paths, launch
from tangka_match.records.setting_names import ADDED_SETTINGS

RUN_ID = "20260101-000000-abc123-4567"


class LaunchedError(Exception):
    """Raised by the stub of ``train``, with its arguments."""


@pytest.fixture(autouse=True)
def runner(monkeypatch):
    def train(plan, resume=None, parent=None):
        raise LaunchedError(plan, resume) if parent is None else LaunchedError(plan, resume, parent)

    monkeypatch.setattr(launch_module, "train", train)


@pytest.fixture
def saved(tmp_path):
    """Save the config of a stopped run, and return its path."""
    _, plain = check_config(compose_config("+experiment=debug", f"paths.checkpoints={tmp_path / 'weights'}"))
    folder = tmp_path / "runs" / RUN_ID
    folder.mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(plain | {"resume": None}), folder / "config.yaml")
    return folder / "config.yaml"


def run(*words):
    return run_cli_in_process(*words, main=lambda: run_cli(launch, "train", "config"))


def launched(*words):
    with pytest.raises(LaunchedError) as caught:
        run(*words)
    return caught.value.args


def refused(saved, *words):
    done = run(f"resume={RUN_ID}", f"paths.runs={saved.parents[1]}", *words)
    assert done.code == 2
    return done.stderr


def test_new_run_saves_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan, resume = launched("+experiment=debug", "paths.runs=here")
    assert resume is None
    assert plan.settings.paths.runs == tmp_path / "here"
    assert plan.config["paths"]["checkpoints"] == str(tmp_path / "checkpoints")


def test_new_run_saves_absolute_paths_of_its_data(tmp_path, monkeypatch):
    (tmp_path / "terms.txt").write_text("唐卡\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    words = ("data.root=set", "data.tokenizer.user_dictionaries=[terms.txt]", "data.vocabulary_path=words.json")
    plan, _ = launched("+experiment=debug", *words)
    data = plan.config["data"]
    assert (data["root"], data["vocabulary_path"]) == (str(tmp_path / "set"), str(tmp_path / "words.json"))
    assert data["tokenizer"]["user_dictionaries"] == [str(tmp_path / "terms.txt")]


def test_local_models_become_absolute_and_hub_names_are_kept(tmp_path, monkeypatch):
    (tmp_path / "bert").mkdir()
    monkeypatch.chdir(tmp_path)
    config = OmegaConf.create(
        {
            "model": {"text_model": "bert"},
            "data": {"word_vectors_path": "vectors.txt", "tokenizer": {"source": "${model.text_model}"}},
            "distillation": {"teachers": ["a.ckpt", "b.ckpt"], "text_model": "bert"},
        }
    )
    keep_absolute_paths(config)
    assert config.model.text_model == config.data.tokenizer.source == str(tmp_path / "bert")
    assert config.distillation.text_model == str(tmp_path / "bert")
    assert config.data.word_vectors_path == str(tmp_path / "vectors.txt")
    assert config.distillation.teachers == [str(tmp_path / "a.ckpt"), str(tmp_path / "b.ckpt")]
    config.model.text_model = "hfl/chinese-macbert-base"
    keep_absolute_paths(config)
    assert config.model.text_model == "hfl/chinese-macbert-base"


def test_resume_uses_the_settings_and_folders_of_the_run(saved, tmp_path):
    plan, folder = launched("resume=last", f"paths.runs={tmp_path / 'runs'}")
    assert (plan.settings.name, plan.model["embed_dim"]) == ("debug", 64)
    assert (folder.run_id, folder.path) == (RUN_ID, saved.parent)
    assert folder.checkpoints == tmp_path / "weights" / "debug" / RUN_ID


def test_resume_finds_moved_data_and_checkpoints(saved, tmp_path):
    plan, folder = launched(
        "resume=last",
        f"paths.runs={tmp_path / 'runs'}",
        f"paths.checkpoints={tmp_path / 'moved'}",
        f"data.root={tmp_path / 'set'}",
    )
    assert plan.data.root == str(tmp_path / "set")
    assert folder.checkpoints == tmp_path / "moved" / "debug" / RUN_ID


def test_resume_of_a_run_of_version_0_1_adds_new_settings(saved, tmp_path):
    config = OmegaConf.load(saved)
    for name in ADDED_SETTINGS:
        group, _, key = name.rpartition(".")
        (config[group] if group else config).pop(key)
    config.training.early_stopping_patience = 3
    OmegaConf.save(config, saved)
    plan, _ = launched("resume=last", f"paths.runs={tmp_path / 'runs'}")
    assert plan.settings.training.monitor == "val/mean_r1"
    assert "EarlyStopping" in [type(callback).__name__ for callback in plan.build_callbacks()]


def test_longer_run_continues_the_parent_with_its_settings(saved, tmp_path):
    length = ("trainer.max_epochs=60", "trainer.max_steps=-1")
    plan, resume, parent = launched(f"resume={RUN_ID}", f"paths.runs={tmp_path / 'runs'}", *length)
    assert resume is None
    assert (parent.run_id, parent.checkpoints) == (RUN_ID, tmp_path / "weights/debug" / RUN_ID)
    assert (plan.settings.trainer.max_epochs, plan.settings.trainer.max_steps) == (60, -1)
    assert plan.overrides == length
    assert plan.settings.name == "debug"


def test_other_processes_continue_the_parent_of_the_main_process(saved, tmp_path, monkeypatch):
    """By then the new run is the last one."""
    child = saved.parent.with_name("20270101-000000-abc123-4567")
    words = ("resume=last", f"paths.runs={tmp_path / 'runs'}", "trainer.max_epochs=500")

    def start_others(plan, resume=None, parent=None):
        child.mkdir()
        (child / "config.yaml").write_text(saved.read_text("utf-8"), encoding="utf-8")
        raise LaunchedError(os.environ[RESUMED_RUN_VARIABLE])

    with monkeypatch.context() as patched:
        patched.setattr(launch_module, "train", start_others)
        assert launched(*words) == (RUN_ID,)
    monkeypatch.setenv(RESUMED_RUN_VARIABLE, RUN_ID)
    assert launched(*words)[2].run_id == child.name  # a main process does not read the variable
    monkeypatch.setattr(launch_module, "is_main_process", lambda: False)
    assert launched(*words)[2].run_id == RUN_ID


def test_processes_that_start_together_need_the_id_of_the_parent(saved, monkeypatch):
    monkeypatch.setattr(launch_module, "processes_started", lambda: 2)
    words = (f"paths.runs={saved.parents[1]}", "trainer.max_epochs=500")
    done = run("resume=last", *words)
    assert done.code == 2
    assert f"write resume={RUN_ID}" in done.stderr
    assert launched(f"resume={RUN_ID}", *words)[2].run_id == RUN_ID


def test_the_length_that_the_run_has_anyway_is_an_exact_resume(saved):
    length = OmegaConf.load(saved).trainer.max_epochs
    _, resume = launched(f"resume={RUN_ID}", f"paths.runs={saved.parents[1]}", f"trainer.max_epochs={length}")
    assert resume.run_id == RUN_ID


def test_resume_refuses_other_settings(saved):
    message = refused(saved, "optimizer.lr=1", "model=vse_tiny")
    assert f"resume={RUN_ID} continues a run with its own settings, but the command also sets" in message
    assert "optimizer.lr=1 model=vse_tiny: remove that (allowed: " in message


def test_resume_finds_a_data_set_moved_with_paths_data(saved, tmp_path):
    config = OmegaConf.load(saved)
    config.paths.data, config.data.root = str(tmp_path / "old"), str(tmp_path / "old" / "demo_small")
    OmegaConf.save(config, saved)
    plan, _ = launched("resume=last", f"paths.runs={tmp_path / 'runs'}", f"paths.data={tmp_path / 'new'}")
    assert plan.data.root == str(tmp_path / "new" / "demo_small")


def test_mixed_sets_become_absolute_and_can_be_moved(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan, _ = launched("+experiment=debug", "data.mix=[{root: data/唐卡, share: 0.5}]")
    assert plan.config["data"]["mix"] == [{"root": str(tmp_path / "data" / "唐卡"), "share": 0.5}]
    config = OmegaConf.load(saved)
    config.paths.data = str(tmp_path / "old")
    config.data.mix = [{"root": str(tmp_path / "old" / "a"), "share": 0.2}, {"root": "/elsewhere", "share": 0.2}]
    OmegaConf.save(config, saved)
    resume = ("resume=last", f"paths.runs={tmp_path / 'runs'}")
    plan, _ = launched(*resume, f"paths.data={tmp_path / 'new'}")
    assert [further.root for further in plan.data.mix] == [str(tmp_path / "new" / "a"), "/elsewhere"]
    plan, _ = launched(*resume, "data.mix=[{root: b, share: 0.2},{root: /c, share: 0.2}]")
    assert [further.root for further in plan.data.mix] == [str(tmp_path / "b"), "/c"]


def test_resume_accepts_a_quoted_path(saved, tmp_path):
    plan, _ = launched("resume=last", f"paths.runs={tmp_path / 'runs'}", f"data.root='{tmp_path}/a, b'")
    assert plan.data.root == f"{tmp_path}/a, b"


def test_resume_of_an_unknown_run_lists_the_newest_runs(saved):
    done = run("resume=2025", f"paths.runs={saved.parents[1]}")
    assert done.code == 2
    assert done.stderr.startswith(f"ConfigError: resume=2025: no run fits under {saved.parents[1]}")
    assert RUN_ID in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: [", "cannot be read as YAML"),
        ("", "not the config of a run (config.yaml: not a mapping)"),
        ("name: a\nseed: 1\n", "not the config of a run, it lacks tags, init_from, paths"),
        ("- a\n- b", "not the config of a run"),
        ("word", "not the config of a run"),
    ],
)
def test_damaged_config_is_reported_with_its_path(saved, text, message):
    saved.write_text(text)
    assert refused(saved).startswith(f"ConfigError: {saved}: {message}")


def test_edited_config_is_checked_again(saved):
    saved.write_text(saved.read_text().replace("embed_dim: 64", "embed_dm: 64"))
    assert "model.embed_dm: tangka_match.models.VSE takes no such argument. Did you mean embed_dim" in refused(saved)


def test_resume_builds_nothing_that_only_the_saved_file_names(saved, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()\nEvil = dict\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = OmegaConf.load(saved)
    config.callbacks.mine = {"_target_": "evil_module.Evil"}
    OmegaConf.save(config, saved)
    longer = "trainer.max_epochs=60"
    again = f"resume={RUN_ID} paths.runs={saved.parents[1]} {longer} '++callbacks.mine._target_=evil_module.Evil'"
    assert f"name it again: {again}" in refused(saved, longer)
    assert not (tmp_path / "imported").exists()
    assert "there callbacks.mine._target_ is 'evil_module.Evil', not 'other.Class'" in refused(
        saved, "++callbacks.mine._target_=other.Class"
    )


def test_resume_builds_what_the_command_names_again(saved, tmp_path):
    config = OmegaConf.load(saved)
    config.callbacks.mine = {"_target_": "helpers.small_runs.Stop", "after": 3}
    OmegaConf.save(config, saved)
    plan, _ = launched(
        "resume=last", f"paths.runs={tmp_path / 'runs'}", "++callbacks.mine._target_=helpers.small_runs.Stop"
    )
    assert "Stop" in [type(callback).__name__ for callback in plan.build_callbacks()]
