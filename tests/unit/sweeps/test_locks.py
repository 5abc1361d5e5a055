import subprocess
import sys
import threading

import pytest

from tangka_match.errors import ConfigError
from tangka_match.sweeps import locks as gpu_lease
from tangka_match.sweeps.locks import GpuPlaces, visible_gpus


@pytest.fixture
def places(tmp_path):
    return lambda gpus=("0", "1"), trials_per_gpu=2: GpuPlaces(gpus, trials_per_gpu, tmp_path)


def test_trials_spread_out_before_they_share(places):
    leases = [places().lease() for _ in range(4)]
    assert [lease.gpu for lease in leases] == ["0", "1", "0", "1"]


def test_a_place_is_free_again_when_its_file_is_closed(places):
    first, second = places(trials_per_gpu=1).lease(), places(trials_per_gpu=1).lease()
    first.file.close()
    assert (places(trials_per_gpu=1).lease().gpu, second.gpu) == ("0", "1")


def test_who_finds_no_place_waits_for_one(places, monkeypatch):
    monkeypatch.setattr(gpu_lease, "POLL_SECONDS", 0.01)
    held = places(("7",), 1).lease()
    got = []
    waiting = threading.Thread(target=lambda: got.append(places(("7",), 1).lease()))
    waiting.start()
    waiting.join(0.1)
    assert got == []
    held.file.close()
    waiting.join(5)
    assert got[0].gpu == "7"


def test_the_process_that_inherits_a_place_keeps_it(places, monkeypatch):
    lease = places(("7",), 1).lease()
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lease.file.fileno(),)
    )
    lease.file.close()
    monkeypatch.setattr(gpu_lease.time, "sleep", lambda _: (_ for _ in ()).throw(TimeoutError))
    with pytest.raises(TimeoutError):
        places(("7",), 1).lease()
    process.communicate(b"\n")
    assert places(("7",), 1).lease().gpu == "7"


@pytest.mark.parametrize(
    ("visible", "wanted", "names"),
    [("", None, ["0", "1"]), ("", [1], ["1"]), ("4,6", None, ["4", "6"]), ("4,6", [1], ["6"])],
)
def test_gpus_by_the_names_of_the_driver(monkeypatch, visible, wanted, names):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus(wanted, 2) == names


def test_a_gpu_that_is_not_there():
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.gpus=\[0\]: this machine shows 0 GPU\(s\).* number 0"):
        visible_gpus([0], 0)


def test_places_must_be_some(places):
    with pytest.raises(ConfigError, match=r"trials_per_gpu=0; allowed: 1 and more"):
        places(trials_per_gpu=0)
