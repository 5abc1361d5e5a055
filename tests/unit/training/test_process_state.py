import ctypes
import subprocess
import sys

import pytest
import torch

from tangka_match.errors import TrainingError
from tangka_match.training.process_state import explained_out_of_memory, keep_freed_memory

FREED_MEMORY_SCRIPT = """
import os, sys, torch
from tangka_match.training.process_state import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
tensor = torch.ones(64 * 2**18)  # 64 MB
before = resident()
del tensor
print(before - resident())
"""


def freed_megabytes(choice):
    done = subprocess.run(
        [sys.executable, "-c", FREED_MEMORY_SCRIPT, choice], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="the setting exists only in glibc")
def test_memory_of_freed_tensors_is_kept():
    assert freed_megabytes("keep") < 8
    assert freed_megabytes("default") > 56  # without the setting


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_not_changed(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    opened = []
    monkeypatch.setattr(ctypes, "CDLL", opened.append)
    keep_freed_memory()
    assert opened == []


class Musl:
    """C library without a version function and without ``mallopt``."""

    def __init__(self):
        self.requested = []

    def __getattr__(self, name):
        self.requested.append(name)
        raise AttributeError(name)


def test_other_c_libraries_are_not_changed(monkeypatch):
    library = Musl()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    keep_freed_memory()
    assert library.requested == ["gnu_get_libc_version"]


def test_gpu_without_memory_is_an_error_with_advice():
    message = r"ran out \(CUDA out of memory\)\. Lower data\.batch_size; .*chunk_size"
    with pytest.raises(TrainingError, match=message), explained_out_of_memory():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a capacity ...")


def test_other_errors_are_not_taken_for_a_lack_of_gpu_memory():
    with pytest.raises(RuntimeError, match="shapes"), explained_out_of_memory():
        raise RuntimeError("shapes cannot be multiplied")
