import multiprocessing
import os
import re
import signal
import time

import pytest
from pytorch_lightning.utilities import rank_zero_only

from tangka_match.errors import ConfigError, TrainingError
from tangka_match.records import run_folder
from tangka_match.records.run_folder import RUN_ID_VARIABLE, config_hash, create_run_folder, find_run
from tangka_match.training.distributed import is_main_process, processes_started


def make(tmp_path):
    return create_run_folder(
        tmp_path / "runs",
        tmp_path / "checkpoints",
        "targeted",
        "abc123",
        is_main=is_main_process(),
        processes=processes_started(),
    )


def test_runs_of_the_same_second_have_different_folders(tmp_path):
    ids = {make(tmp_path).run_id for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"\d{8}-\d{6}-abc123-[0-9a-f]{4}", run_id) for run_id in ids)


def test_taken_run_id_is_drawn_again(tmp_path, monkeypatch):
    drawn = iter(("aaaa", "aaaa", "bbbb"))
    monkeypatch.setattr(run_folder.secrets, "token_hex", lambda _: next(drawn))
    monkeypatch.setattr(run_folder.time, "strftime", lambda _: "20261124-120000")
    assert [make(tmp_path).run_id[-4:] for _ in range(2)] == ["aaaa", "bbbb"]


def test_other_ranks_use_the_folder_of_rank_0(tmp_path, monkeypatch):
    first = make(tmp_path)
    monkeypatch.setenv(RUN_ID_VARIABLE, first.run_id)
    assert make(tmp_path).run_id != first.run_id  # another run of this process, not another rank
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert make(tmp_path) == first


def started_together(monkeypatch, run_id):
    """Set the environment as torchrun does for two processes."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none", RUN_ID_VARIABLE: run_id}.items():
        monkeypatch.setenv(name, value)


def test_torchrun_processes_use_the_given_run_id(tmp_path, monkeypatch):
    started_together(monkeypatch, "my-run.1")
    folder = make(tmp_path)
    assert (folder.path, folder.run_id) == (tmp_path / "runs" / "my-run.1", "my-run.1")
    folder.config.touch()
    with pytest.raises(ConfigError, match=rf"{RUN_ID_VARIABLE}=my-run\.1: this run exists already.*resume=my-run\.1"):
        make(tmp_path)


def test_taken_run_id_leaves_no_folder_and_suggests_no_resume(tmp_path, monkeypatch):
    started_together(monkeypatch, "taken")
    (tmp_path / "checkpoints" / "targeted" / "taken").mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"checkpoints/targeted/taken: choose another id$"):
            make(tmp_path)
    assert list((tmp_path / "runs").iterdir()) == []


def test_slurm_variables_refused_by_lightning_are_reported(tmp_path, monkeypatch):
    for name, value in {"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "train"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"SLURMEnvironment: .*ntasks"):
        make(tmp_path)


@pytest.mark.parametrize("run_id", ["", "my run", "../up", "..", "last"])
def test_torchrun_processes_need_a_valid_run_id(tmp_path, monkeypatch, run_id):
    started_together(monkeypatch, run_id)
    with pytest.raises(ConfigError, match=rf"{RUN_ID_VARIABLE}='{run_id}': the 2 processes .* need one run id"):
        make(tmp_path)
    assert not (tmp_path / "runs").exists()


def test_hash_ignores_paths_and_logger():
    config = {"seed": 0, "model": {"dim": 8}, "paths": {"runs": "a"}, "logger": {"kind": "csv"}}
    assert config_hash(config) == config_hash({**config, "paths": {"runs": "b"}, "logger": {"kind": "none"}})
    assert config_hash(config) != config_hash({**config, "seed": 1})


def test_find_run_by_id_prefix_and_last(tmp_path):
    for run_id in ("20260101-000000-aa-11", "20260102-000000-bb-22", "20260102-000000-bb-33"):
        (tmp_path / run_id).mkdir()
        (tmp_path / run_id / "config.yaml").touch()
    assert find_run(tmp_path, "last").name == "20260102-000000-bb-33"
    assert find_run(tmp_path, "20260101").name == "20260101-000000-aa-11"
    assert find_run(tmp_path, "20260102-000000-bb-22").name == "20260102-000000-bb-22"
    own = tmp_path / "my-run"  # id given by the user, older than the others
    own.mkdir()
    (own / "config.yaml").touch()
    os.utime(own / "config.yaml", (0, 0))
    assert find_run(tmp_path, "last").name == "20260102-000000-bb-33"
    with pytest.raises(ConfigError, match=r"resume=20260102: 2 runs fit"):
        find_run(tmp_path, "20260102")
    with pytest.raises(ConfigError, match=r"resume=zzz: no run fits(.|\n)*20260102-000000-bb-33"):
        find_run(tmp_path, "zzz")


def in_a_fork(work):
    """Start ``work`` in a forked process."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def test_lock_of_a_running_run_is_refused(tmp_path):
    folder = make(tmp_path)
    parent_end, child_end = multiprocessing.Pipe()

    def hold():
        with folder.lock():
            child_end.send(os.getpid())
            child_end.recv()

    holder = in_a_fork(hold)
    owner = parent_end.recv()
    with pytest.raises(TrainingError, match=rf"{folder.run_id} is still going \(process {owner}\)"):
        folder.lock()
    parent_end.send("release")
    holder.join()
    folder.lock().close()


def test_killed_run_is_unlocked_although_its_worker_is_still_running(tmp_path):
    folder = make(tmp_path)
    parent_end, child_end = multiprocessing.Pipe()

    def exit_before_the_child():
        lock_file = folder.lock()
        if (child := os.fork()) == 0:
            time.sleep(60)
        child_end.send(child)
        assert not lock_file.closed
        os._exit(9)

    in_a_fork(exit_before_the_child).join()
    child = parent_end.recv()
    try:
        folder.lock().close()
    finally:
        os.kill(child, signal.SIGKILL)


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(TrainingError, match=r"runs.*cannot make the run folder"):
        make(tmp_path)


def test_failure_leaves_no_empty_run_folder(tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(TrainingError, match=r"checkpoints.*cannot make the run folder"):
        make(tmp_path)
    assert list((tmp_path / "runs").iterdir()) == []
