"""What importing may not do: pull in heavy libraries, write, or log."""

import json
import subprocess
import sys

import pytest

HEAVY = {"hydra", "omegaconf", "pytorch_lightning", "wandb", "matplotlib"}


# One process for all: what a package brings stays, and is put down to the first that brings it.
LAYERS = (
    "tangka_match",
    "tangka_match.metric_names",
    *(f"tangka_match.{name}" for name in ("ops", "losses", "metrics", "models", "retrieval")),
)
SCRIPT = """
import importlib, json, sys
for package in sys.argv[1:]:
    importlib.import_module(package)
    print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture(scope="module")
def imported():
    """The modules that are there after each of the layers, and what was written to stderr."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *LAYERS], capture_output=True, text=True, check=True)
    return dict(zip(LAYERS, map(set, map(json.loads, done.stdout.splitlines())), strict=True)), done.stderr


@pytest.mark.parametrize("package", LAYERS[1:])
def test_the_lower_layers_bring_no_framework(imported, package):
    modules, errors = imported
    assert package in modules[package]
    assert not modules[package] & HEAVY
    assert errors == ""


def test_the_package_itself_brings_no_torch(imported):
    assert "torch" not in imported[0]["tangka_match.metric_names"]


def test_an_import_prints_nothing():
    statement = "import tangka_match.training.runner, tangka_match.config.launch, tangka_match.data.datamodule"
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
