from helpers.records import record_of
from helpers.run_folders import write_run
from tangka_match.analysis.runs.differences import choose_columns, differing_keys, swept_keys


def two_runs(tmp_path, one, other, **start):
    return [record_of(write_run(tmp_path, name, config=c, **start)) for name, c in (("a", one), ("b", other))]


def test_differing_keys_include_keys_of_one_run(tmp_path):
    runs = two_runs(
        tmp_path,
        {"loss": {"_target_": "tangka_match.losses.TripletMarginLoss", "margin": 0.1}},
        {"loss": {"_target_": "tangka_match.losses.InfoNCELoss", "temperature": 0.07}, "optimizer": {"lr": 1e-3}},
    )
    assert differing_keys(runs) == ["loss._target_", "loss.margin", "optimizer.lr", "loss.temperature"]
    assert choose_columns(runs, differing_keys(runs)) == [
        "loss._target_", "optimizer.lr", "loss.margin", "loss.temperature"
    ]  # fmt: skip


def test_number_and_string_differ(tmp_path):
    assert differing_keys(two_runs(tmp_path, {"model": {"size": 1}}, {"model": {"size": "1"}})) == ["model.size"]


def test_seeds_and_paths_are_not_columns(tmp_path):
    one, other = ({"paths": {"runs": p}, "logger": {"kind": p}, "tags": [p], "seed": n} for n, p in enumerate("xy"))
    runs = two_runs(tmp_path, one, other)
    assert set(differing_keys(runs)) == {"paths.runs", "logger.kind", "tags", "seed"}
    assert choose_columns(runs, differing_keys(runs)) == []


def test_swept_settings_come_first(tmp_path):
    configs = [{"model": {"_target_": f"m.{n}", "width": n}, "trainer": {"max_epochs": n}} for n in (1, 2)]
    runs = two_runs(tmp_path, *configs, overrides=["+experiment=targeted", "trainer.max_epochs=1"])
    assert choose_columns(runs, differing_keys(runs)) == ["trainer.max_epochs", "model._target_", "model.width"]


def test_group_choice_is_shown_as_its_target(tmp_path):
    (run, _) = two_runs(tmp_path, {}, {}, overrides=["model=vse", "++loss.margin=0.1", "~tags"])
    assert swept_keys([run]) >= {"model._target_", "loss.margin", "tags"}


def test_run_without_config_is_ignored(tmp_path):
    runs = two_runs(tmp_path, {}, {})
    (tmp_path / "b" / "config.yaml").unlink()
    assert differing_keys([runs[0], record_of(tmp_path / "b")]) == []
