import logging
import signal
import subprocess

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.precomp import write_precomp
from tangka_match.data import device_features
from tangka_match.data.device_features import DeviceFeatures, keep_on_device, loading, outlive_signals
from tangka_match.data.split import load_split
from tangka_match.errors import DataFormatError
from tangka_match.types import RegionTextBatch

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
PADDED = {0: [3], 2: [0, 2], 3: [1, 2, 3], 4: [0]}  # image 1 has all its regions
MASK = [
    [True, True, True, False],
    [True, True, True, True],
    [False, True, False, True],
    [True, False, False, False],
    [False, True, True, True],
]


@pytest.fixture
def array(tmp_path):
    array = np.array(write_precomp(tmp_path, images=5, captions_per_image=2).features)
    for image, regions in PADDED.items():
        array[image, regions] = 0
    return array


def opened(tmp_path, array):
    np.save(tmp_path / "train_ims.npy", array)
    return load_split(tmp_path, "train")


def batch_of(image_index):
    """Collate a batch without regions."""
    rows = torch.tensor(image_index)
    size = len(rows)
    return RegionTextBatch(
        regions=torch.empty(size, 0, 8, dtype=torch.float16),
        region_mask=torch.empty(size, 0, dtype=torch.bool),
        token_ids=torch.arange(3).expand(size, 3),
        token_mask=torch.tensor([True, True, False]).expand(size, 3),
        image_index=rows,
        caption_index=2 * rows,
        text_group=torch.zeros(size, dtype=torch.int64),
    )


@pytest.mark.parametrize("rows_per_block", [1, 2, 5, 256])
def test_device_features_keep_regions_and_masks(tmp_path, array, monkeypatch, rows_per_block):
    monkeypatch.setattr(device_features, "_ROWS_PER_BLOCK", rows_per_block)
    kept = DeviceFeatures.load(opened(tmp_path, array), CPU)
    assert kept.region_mask.tolist() == MASK
    assert kept.regions.dtype == torch.float16
    np.testing.assert_array_equal(kept.regions, array)


def test_fill_adds_the_regions_and_masks_of_the_batch(tmp_path, array):
    batch = batch_of([3, 0, 3, 2, 4])
    filled = DeviceFeatures.load(opened(tmp_path, array), CPU).fill(batch)
    assert filled.region_mask.tolist() == [MASK[image] for image in (3, 0, 3, 2, 4)]
    np.testing.assert_array_equal(filled.regions, array[[3, 0, 3, 2, 4]])
    for name in set(RegionTextBatch._fields) - {"regions", "region_mask"}:
        assert getattr(filled, name) is getattr(batch, name), name


def test_device_features_of_a_damaged_set(tmp_path, array, monkeypatch):
    monkeypatch.setattr(device_features, "_ROWS_PER_BLOCK", 2)
    split = opened(tmp_path, array)
    array[4] = 0
    np.save(tmp_path / "train_ims.npy", array)
    with pytest.raises(DataFormatError, match=r"row 4 \(image id '4'\): all 4 regions are zeros"):
        DeviceFeatures.load(split, CPU)


@pytest.fixture
def memory(monkeypatch):
    """Answer questions about the memory of a GPU."""

    def answer(free, reserved=0, allocated=0):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**9))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: allocated)

    return answer


@pytest.mark.parametrize(("free", "keeps"), [(800, True), (799, False)])
def test_features_fit_in_gpu_memory_up_to_a_share(tmp_path, array, memory, free, keeps):
    """5 images of 4 regions of 8 dimensions in float16 are 320 bytes: 40 % of 800."""
    memory(free)
    assert keep_on_device(opened(tmp_path, array).features, GPU, "auto") is keeps


def test_memory_that_torch_holds_for_reuse_is_free(tmp_path, array, memory):
    """What the previous seed of the same process has left behind."""
    memory(free=300, reserved=700, allocated=200)
    assert keep_on_device(opened(tmp_path, array).features, GPU, "auto")


def test_features_that_do_not_fit_are_explained(tmp_path, array, memory, caplog):
    memory(free=100)
    with caplog.at_level(logging.WARNING, "tangka_match"):
        keep_on_device(opened(tmp_path, array).features, GPU, "auto")
    assert "more than 40 % of the 0.0 GiB that are free on cuda:0, so each batch is read from disk" in caplog.text


def test_features_never_stay_on_a_cpu_by_themselves(tmp_path, array, memory, caplog):
    memory(free=10**9)
    features = opened(tmp_path, array).features
    assert not keep_on_device(features, CPU, "auto")
    assert keep_on_device(features, CPU, True)
    assert not keep_on_device(features, GPU, False)
    assert not caplog.text


@pytest.mark.parametrize(
    ("device", "is_resident", "machine", "expected"),
    [
        (CPU, False, (16, 0), (0, False)),
        (GPU, True, (16, 1), (0, False)),
        (GPU, False, (16, 1), (4, True)),
        (GPU, False, (2, 1), (1, True)),
        (GPU, False, (16, 8), (1, True)),
        (GPU, False, (8, 8), (0, True)),
    ],
)
def test_batches_that_are_read_for_a_gpu_have_workers(monkeypatch, device, is_resident, machine, expected):
    cores, gpus = machine
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(device_features.os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    found = loading("auto", "auto", device, is_resident=is_resident)
    assert (found["num_workers"], found["pin_memory"]) == expected
    assert found["persistent_workers"] == (expected[0] > 0)


def test_given_numbers_are_obeyed():
    given = {"num_workers": 3, "persistent_workers": True, "pin_memory": False}
    assert loading(3, False, GPU, is_resident=False) == given | {"worker_init_fn": outlive_signals}
    assert loading(0, True, CPU, is_resident=True) == {
        "num_workers": 0,
        "persistent_workers": False,
        "pin_memory": True,
        "worker_init_fn": None,
    }


@pytest.mark.parametrize("name", ["TERM", "USR1", "USR2"])
def test_workers_go_on_after_a_signal_to_all_processes_of_a_job(name):
    # A fork server has no threads of libraries that other tests use: gRPC starts some in each forked process.
    loader = DataLoader(
        range(40), None, num_workers=2, worker_init_fn=outlive_signals, multiprocessing_context="forkserver"
    )
    batches = iter(loader)
    found = [next(batches), next(batches)]  # both workers have started
    workers = [str(worker.pid) for worker in batches._workers]
    subprocess.run(["/bin/sh", "-c", f"kill -{name} {' '.join(workers)}"], check=True)  # not sent by their parent
    assert found + list(batches) == list(range(40))


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_end_when_their_parent_asks(method):
    """With a fork server, the default of Linux from Python 3.14 on, another process has started them."""
    loader = DataLoader(range(4), None, num_workers=1, worker_init_fn=outlive_signals, multiprocessing_context=method)
    batches = iter(loader)
    next(batches)
    (worker,) = batches._workers
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler reports the end of a worker as an error
    try:
        worker.terminate()
        worker.join(timeout=20)
        assert worker.exitcode == 0
    finally:
        signal.signal(signal.SIGCHLD, before)
