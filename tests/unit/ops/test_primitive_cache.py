import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tangka_match.ops import bound_primitive_caches

VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")

PRODUCTS_OF_MANY_SHAPES = """
import os, sys, torch
from tangka_match.ops import bound_primitive_caches
if sys.argv[1] == "bound":
    bound_primitive_caches()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
torch.set_num_threads(1)
weight, rows = torch.ones(256, 256, dtype=torch.bfloat16), torch.ones(600, 256, dtype=torch.bfloat16)
torch.nn.functional.linear(rows, weight)
before = resident()
for count in range(1, 600):
    torch.nn.functional.linear(rows[:count], weight)
print(resident() - before)
"""


def megabytes_grown(choice):
    command = [sys.executable, "-c", PRODUCTS_OF_MANY_SHAPES, choice]
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def onednn_multiplies():
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.skipif(not onednn_multiplies(), reason="on this CPU bfloat16 is not multiplied by oneDNN")
def test_products_of_ever_new_shapes_do_not_fill_the_memory():
    assert megabytes_grown("bound") < 0.5 * megabytes_grown("as it is")


def test_what_the_user_has_set_stays(monkeypatch):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(VARIABLES[0], "7")
    bound_primitive_caches()
    assert [os.environ[variable] for variable in VARIABLES] == ["7", "128"]
