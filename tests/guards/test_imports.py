"""Imports of the lower layers load no heavy libraries, and print nothing."""

import json
import subprocess
import sys

import pytest

HEAVY = {"hydra", "omegaconf", "pytorch_lightning", "wandb", "matplotlib"}


# One process imports all layers in turn, because it is faster.
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
    """Import all layers; return the modules loaded after each layer, and the output on stderr."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *LAYERS], capture_output=True, text=True, check=True)
    return dict(zip(LAYERS, map(set, map(json.loads, done.stdout.splitlines())), strict=True)), done.stderr


@pytest.mark.parametrize("package", LAYERS[1:])
def test_lower_layers_import_no_framework(imported, package):
    modules, errors = imported
    assert package in modules[package]
    assert not modules[package] & HEAVY
    assert errors == ""


@pytest.mark.parametrize("module", ["tangka_match", "tangka_match.metric_names"])
def test_module_does_not_import_torch(imported, module):
    assert "torch" not in imported[0][module]


def test_imports_print_nothing():
    statement = "import tangka_match.training.runner, tangka_match.config.launch, tangka_match.data.datamodule"
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
