import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tangka_match.errors import ConfigError, TrainingError
from tangka_match.sweeps.folder import SweepFolder, open_sweep

HOLD = """
import os, sys, time
from pathlib import Path
from tangka_match.sweeps.folder import SweepFolder
with SweepFolder(Path(sys.argv[1])).hold_job(4):
    if os.fork() == 0:
        print(os.getpid(), flush=True)  # printed by the child, after it has closed its copies of the locks
    time.sleep(99)
"""


def opened(root, name=None, kind="grid", **identity):
    return open_sweep(root, name, kind, identity or {"jobs": ["a=1"]}, objectives=["mean_r1"])


def test_sweep_without_a_running_process_is_continued(tmp_path):
    first = opened(tmp_path)
    first.lock.close()
    again = opened(tmp_path)
    assert again.folder == first.folder
    assert first.folder.manifest.read().header["objectives"] == ["mean_r1"]


def test_sweeps_started_in_the_same_second_have_different_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "20260101-000000")
    first, second = opened(tmp_path), opened(tmp_path)
    assert first.folder != second.folder


def test_second_process_on_the_same_sweep_logs_a_warning(tmp_path, caplog):
    going = opened(tmp_path)
    opened(tmp_path)
    assert f"{going.folder.path}: another process is working on the same sweep" in caplog.text


def test_other_identity_or_kind_has_another_folder(tmp_path):
    first = opened(tmp_path)
    first.lock.close()
    assert len({first.folder, opened(tmp_path, jobs=["a=2"]).folder, opened(tmp_path, kind="study").folder}) == 3


def test_name_of_another_sweep_is_refused_with_the_difference(tmp_path):
    opened(tmp_path, "lr", jobs=["a=1"], commit="x").lock.close()
    message = rf"sweep\.name=lr: {tmp_path}/lr holds another sweep: its jobs is \['a=1'\], here it is \['a=2'\]; choose"
    with pytest.raises(ConfigError, match=message):
        opened(tmp_path, "lr", jobs=["a=2"], commit="x")


def test_named_study_is_shared_and_named_grid_is_not(tmp_path):
    first = opened(tmp_path, "grid")
    with pytest.raises(ConfigError, match=r"sweep\.name=grid: another process is working on"):
        opened(tmp_path, "grid")
    first.lock.close()
    one, two = opened(tmp_path, "study", kind="study"), opened(tmp_path, "study", kind="study")
    assert (one.folder, one.alone, two.alone) == (two.folder, True, False)


def test_unnamed_study_of_another_process_is_not_joined(tmp_path):
    first = opened(tmp_path, kind="study")
    assert opened(tmp_path, kind="study").folder != first.folder


def test_job_is_held_while_it_runs(tmp_path):
    folder = SweepFolder(tmp_path)
    assert not folder.is_held(4)
    with folder.hold_job(4):
        assert folder.is_held(4)
    assert not folder.is_held(4)


def test_job_of_killed_process_is_unlocked_although_its_child_is_still_running(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    try:
        assert SweepFolder(tmp_path).is_held(4)
        process.kill()
        process.wait()
        os.kill(child, 0)  # is alive
        assert not SweepFolder(tmp_path).is_held(4)
    finally:
        os.kill(child, signal.SIGKILL)


def test_folder_that_cannot_be_made_is_named():
    with pytest.raises(TrainingError, match=r"/proc/nowhere.*cannot make the folder of the sweep .*set paths\.runs"):
        opened(Path("/proc/nowhere/sweeps"))
