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
        print(os.getpid(), flush=True)  # said by the reader itself: by now it has let go of its parent's locks
    time.sleep(99)
"""


def opened(root, name=None, kind="grid", **identity):
    return open_sweep(root, name, kind, identity or {"jobs": ["a=1"]}, objectives=["mean_r1"])


def test_a_sweep_that_has_ended_or_was_killed_is_taken_up_again(tmp_path):
    first = opened(tmp_path)
    first.lock.close()
    again = opened(tmp_path)
    assert (first.is_new, again.is_new, again.folder) == (True, False, first.folder)
    assert first.folder.manifest.read().header["objectives"] == ["mean_r1"]


def test_two_sweeps_started_in_the_same_second_have_two_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "20260101-000000")
    first, second = opened(tmp_path), opened(tmp_path)
    assert first.folder != second.folder
    assert second.is_new


def test_a_sweep_that_another_process_is_doing_is_named(tmp_path, caplog):
    going = opened(tmp_path)
    opened(tmp_path)
    assert f"{going.folder.path}: another process is doing the same sweep" in caplog.text


def test_another_sweep_has_another_folder(tmp_path):
    opened(tmp_path).lock.close()
    assert opened(tmp_path, jobs=["a=2"]).is_new
    assert opened(tmp_path, kind="study").is_new


def test_a_name_with_another_sweep_in_it_says_what_differs(tmp_path):
    opened(tmp_path, "lr", jobs=["a=1"], commit="x").lock.close()
    message = rf"sweep\.name=lr: {tmp_path}/lr holds another sweep: its jobs is \['a=1'\], here it is \['a=2'\]; choose"
    with pytest.raises(ConfigError, match=message):
        opened(tmp_path, "lr", jobs=["a=2"], commit="x")


def test_a_named_grid_that_is_going_is_not_shared_a_study_is(tmp_path):
    first = opened(tmp_path, "grid")
    with pytest.raises(ConfigError, match=r"sweep\.name=grid: another process is working on"):
        opened(tmp_path, "grid")
    first.lock.close()
    one, two = opened(tmp_path, "study", kind="study"), opened(tmp_path, "study", kind="study")
    assert (one.folder, one.alone, two.alone) == (two.folder, True, False)


def test_an_unnamed_study_that_is_going_is_left_alone(tmp_path):
    first = opened(tmp_path, kind="study")
    assert opened(tmp_path, kind="study").folder != first.folder


def test_a_job_is_held_until_it_is_done(tmp_path):
    folder = SweepFolder(tmp_path)
    assert not folder.is_held(4)
    with folder.hold_job(4):
        assert folder.is_held(4)
    assert not folder.is_held(4)


def test_a_job_is_free_as_soon_as_its_process_is_killed_though_a_reader_lives_on(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    reader = int(process.stdout.readline())
    try:
        assert SweepFolder(tmp_path).is_held(4)
        process.kill()
        process.wait()
        os.kill(reader, 0)  # lives
        assert not SweepFolder(tmp_path).is_held(4)
    finally:
        os.kill(reader, signal.SIGKILL)


def test_a_folder_that_cannot_be_made_is_named():
    with pytest.raises(TrainingError, match=r"/proc/nowhere.*cannot make the folder of the sweep .*set paths\.runs"):
        opened(Path("/proc/nowhere/sweeps"))
