import re

import pytest

from tangka_match.errors import ConfigError, TrainingError
from tangka_match.training.records.run_folder import RUN_ID_VARIABLE, config_hash, create_run_folder, find_run


def make(tmp_path):
    return create_run_folder(tmp_path / "runs", tmp_path / "checkpoints", "targeted", "abc123")


def test_a_hundred_runs_in_the_same_second_get_a_hundred_folders(tmp_path):
    ids = {make(tmp_path).run_id for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"\d{8}-\d{6}-abc123-[0-9a-f]{4}", run_id) for run_id in ids)


def test_other_ranks_join_the_first_ones_folder(tmp_path, monkeypatch):
    first = make(tmp_path)
    monkeypatch.setenv(RUN_ID_VARIABLE, first.run_id)
    assert make(tmp_path).run_id != first.run_id  # a second job of a sweep, not a second rank
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert make(tmp_path) == first


def test_where_a_run_writes_does_not_change_its_hash():
    config = {"seed": 0, "model": {"dim": 8}, "paths": {"runs": "a"}, "logger": {"kind": "csv"}}
    assert config_hash(config) == config_hash({**config, "paths": {"runs": "b"}, "logger": {"kind": "none"}})
    assert config_hash(config) != config_hash({**config, "seed": 1})


def test_runs_are_found_by_id_by_its_beginning_and_as_the_last(tmp_path):
    for run_id in ("20260101-000000-aa-11", "20260102-000000-bb-22", "20260102-000000-bb-33"):
        (tmp_path / run_id).mkdir()
        (tmp_path / run_id / "config.yaml").touch()
    assert find_run(tmp_path, "last").name == "20260102-000000-bb-33"
    assert find_run(tmp_path, "20260101").name == "20260101-000000-aa-11"
    assert find_run(tmp_path, "20260102-000000-bb-22").name == "20260102-000000-bb-22"
    with pytest.raises(ConfigError, match=r"resume=20260102: 2 runs fit"):
        find_run(tmp_path, "20260102")
    with pytest.raises(ConfigError, match=r"resume=zzz: no run fits(.|\n)*20260102-000000-bb-33"):
        find_run(tmp_path, "zzz")


def test_a_run_that_is_going_on_cannot_be_resumed_beside_it(tmp_path):
    folder = make(tmp_path)
    with folder.lock(), pytest.raises(TrainingError, match=rf"{folder.run_id} is still going \(process \d+\)"):
        folder.lock()
    folder.lock().close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(TrainingError, match=r"runs.*cannot make the run folder"):
        make(tmp_path)


def test_the_processes_of_torchrun_share_the_folder_that_the_user_names(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.delenv(RUN_ID_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=f"cannot agree on a run folder: set {RUN_ID_VARIABLE}=<a new name>"):
        create_run_folder(tmp_path / "runs", tmp_path / "checkpoints", "x", "abcdef")
    monkeypatch.setenv(RUN_ID_VARIABLE, "two-machines")
    for rank in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        folder = create_run_folder(tmp_path / "runs", tmp_path / "checkpoints", "x", "abcdef")
        assert folder.run_id == "two-machines"
    folder.config.touch()
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ConfigError, match=f"{RUN_ID_VARIABLE}=two-machines: there is such a run already, .*new name"):
        create_run_folder(tmp_path / "runs", tmp_path / "checkpoints", "x", "abcdef")
