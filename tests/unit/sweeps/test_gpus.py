import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import torch

from tangka_match.errors import ConfigError, TrainingError
from tangka_match.sweeps import gpus as gpus_module
from tangka_match.sweeps.gpus import GpuSlots, visible_gpus


@pytest.fixture
def slots(tmp_path):
    return lambda gpus=("0", "1"), trials_per_gpu=2: GpuSlots(gpus, trials_per_gpu, tmp_path)


def test_trials_spread_over_gpus_before_they_share(slots):
    leases = [slots().lease(threading.Event()) for _ in range(4)]
    assert [lease.gpu for lease in leases] == ["0", "1", "0", "1"]


def test_slot_is_free_again_when_its_file_is_closed(slots):
    first, second = slots(trials_per_gpu=1).lease(threading.Event()), slots(trials_per_gpu=1).lease(threading.Event())
    first.file.close()
    assert (slots(trials_per_gpu=1).lease(threading.Event()).gpu, second.gpu) == ("0", "1")


def test_lease_waits_for_a_free_slot(slots, monkeypatch):
    monkeypatch.setattr(gpus_module, "POLL_SECONDS", 0.01)
    held = slots(("7",), 1).lease(threading.Event())
    got = []
    waiting = threading.Thread(target=lambda: got.append(slots(("7",), 1).lease(threading.Event())))
    waiting.start()
    waiting.join(0.1)
    assert got == []
    held.file.close()
    waiting.join(5)
    assert got[0].gpu == "7"


def test_process_that_inherits_a_slot_keeps_it(slots):
    lease = slots(("7",), 1).lease(threading.Event())
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lease.file.fileno(),)
    )
    lease.file.close()
    stopping = threading.Event()
    threading.Timer(0.1, stopping.set).start()
    with pytest.raises(TrainingError):
        slots(("7",), 1).lease(stopping)
    process.communicate(b"\n")
    assert slots(("7",), 1).lease(threading.Event()).gpu == "7"


@pytest.fixture
def two_gpus(monkeypatch):
    """Machine with the GPUs a1 and b2, as this process counts them."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda n: SimpleNamespace(uuid=("a1", "b2")[n]))


@pytest.mark.parametrize(("wanted", "names"), [(None, ["GPU-a1", "GPU-b2"]), ([1], ["GPU-b2"]), ([1, 1], ["GPU-b2"])])
@pytest.mark.parametrize("visible", ["", "0,1", "0, 1", "GPU-a1,GPU-b2"])
def test_gpus_are_named_by_their_uuid_whatever_the_environment_calls_them(
    two_gpus, monkeypatch, visible, wanted, names
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus(wanted) == names


def test_every_instance_of_a_partitioned_gpu_is_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # CUDA shows a process the first one only
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a1, MIG-b2")
    assert visible_gpus(None) == ["MIG-a1", "MIG-b2"]
    assert visible_gpus([1]) == ["MIG-b2"]


def test_missing_gpu_is_refused(two_gpus):
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.gpus=\[2\]: GPU 2 does not exist, this machine shows 2"):
        visible_gpus([2])


def test_user_without_a_name_shares_the_slots_of_the_number(monkeypatch, tmp_path):
    monkeypatch.setattr(gpus_module.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("pwd.getpwuid", lambda number: (_ for _ in ()).throw(KeyError(number)))
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    assert GpuSlots(["0"], 1).lease(threading.Event()).gpu == "0"
    assert [path.name for path in tmp_path.iterdir()] == [f"tangka_match-gpus-{os.getuid()}"]


def test_trials_per_gpu_below_one_is_refused(slots):
    with pytest.raises(ConfigError, match=r"trials_per_gpu=0 must be >= 1"):
        slots(trials_per_gpu=0)
