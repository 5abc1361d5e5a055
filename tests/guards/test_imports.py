"""What importing may not do: pull in heavy libraries, write, or log."""

import subprocess
import sys

import pytest

HEAVY = {"hydra", "omegaconf", "pytorch_lightning", "wandb", "matplotlib"}


def modules_after(statement):
    script = f"{statement}\nimport sys\nprint('\\n'.join(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split()), done.stderr


@pytest.mark.parametrize("package", ["metrics", "losses", "models", "retrieval", "ops"])
def test_the_lower_layers_bring_no_framework(package):
    modules, errors = modules_after(f"import tangka_match.{package}")
    assert f"tangka_match.{package}" in modules
    assert not modules & HEAVY
    assert errors == ""


def test_the_package_itself_brings_no_torch():
    modules, _ = modules_after("import tangka_match")
    assert "torch" not in modules


def test_an_import_prints_nothing():
    statement = "import tangka_match.training.runner, tangka_match.config.launch, tangka_match.data.datamodule"
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
