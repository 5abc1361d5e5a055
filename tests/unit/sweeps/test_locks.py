import subprocess
import sys
import threading

import pytest

from tangka_match.errors import ConfigError
from tangka_match.sweeps import locks
from tangka_match.sweeps.locks import GpuSlots, visible_gpus


@pytest.fixture
def slots(tmp_path):
    return lambda gpus=("0", "1"), trials_per_gpu=2: GpuSlots(gpus, trials_per_gpu, tmp_path)


def test_trials_spread_over_gpus_before_they_share(slots):
    leases = [slots().lease() for _ in range(4)]
    assert [lease.gpu for lease in leases] == ["0", "1", "0", "1"]


def test_slot_is_free_again_when_its_file_is_closed(slots):
    first, second = slots(trials_per_gpu=1).lease(), slots(trials_per_gpu=1).lease()
    first.file.close()
    assert (slots(trials_per_gpu=1).lease().gpu, second.gpu) == ("0", "1")


def test_lease_waits_for_a_free_slot(slots, monkeypatch):
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    held = slots(("7",), 1).lease()
    got = []
    waiting = threading.Thread(target=lambda: got.append(slots(("7",), 1).lease()))
    waiting.start()
    waiting.join(0.1)
    assert got == []
    held.file.close()
    waiting.join(5)
    assert got[0].gpu == "7"


def test_process_that_inherits_a_slot_keeps_it(slots, monkeypatch):
    lease = slots(("7",), 1).lease()
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lease.file.fileno(),)
    )
    lease.file.close()
    monkeypatch.setattr(locks.time, "sleep", lambda _: (_ for _ in ()).throw(TimeoutError))
    with pytest.raises(TimeoutError):
        slots(("7",), 1).lease()
    process.communicate(b"\n")
    assert slots(("7",), 1).lease().gpu == "7"


@pytest.mark.parametrize(
    ("visible", "wanted", "names"),
    [("", None, ["0", "1"]), ("", [1], ["1"]), ("4,6", None, ["4", "6"]), ("4,6", [1], ["6"])],
)
def test_visible_gpus_uses_names_of_cuda_visible_devices(monkeypatch, visible, wanted, names):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus(wanted, 2) == names


def test_missing_gpu_is_refused():
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.gpus=\[0\]: GPU 0 does not exist, this machine shows 0"):
        visible_gpus([0], 0)


def test_trials_per_gpu_below_one_is_refused(slots):
    with pytest.raises(ConfigError, match=r"trials_per_gpu=0 must be >= 1"):
        slots(trials_per_gpu=0)
