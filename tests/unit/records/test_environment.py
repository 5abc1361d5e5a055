import importlib.metadata
import json
import shutil
import subprocess
import sys

import pytest
import torch

from tangka_match.records import environment
from tangka_match.records.environment import describe_environment, describe_machine, git_commit


def git(folder, *words):
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", "-C", folder, *identity, *words], capture_output=True, text=True, check=True)  # noqa: S607
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Create a git repository from which the module appears to be imported."""
    shutil.copy(environment.__file__, tmp_path / "environment.py")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "environment.py")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    return tmp_path


def test_environment_is_serialisable():
    described = describe_environment()
    assert json.loads(json.dumps(described)) == described


def test_versions_are_the_installed_ones():
    packages = describe_environment()["packages"]
    assert packages["torch"] == torch.__version__
    assert packages["pytorch-lightning"] == importlib.metadata.version("pytorch-lightning")
    assert "tangka-match" in packages


def test_missing_package_is_left_out(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("torch", "no-such-package"))
    assert list(describe_environment()["packages"]) == ["torch"]


def test_command_is_quoted_for_the_shell(tmp_path):
    code = "from tangka_match.records.environment import *; print(describe_environment()['command'])"
    done = subprocess.run(
        [sys.executable, "-c", code, "data.root=a b", "name=唐卡"], capture_output=True, text=True, check=True
    )
    again = subprocess.run(done.stdout.strip(), shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    assert again.stdout == done.stdout
    assert done.stdout.strip().endswith("'data.root=a b' 'name=唐卡'")


def test_machine_has_cpu_cores_and_gpus():
    machine = describe_machine()
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["torch_threads"] == torch.get_num_threads()
    assert len(machine["gpus"]) == torch.cuda.device_count()


def test_clean_checkout_has_plain_commit(checkout):
    assert git_commit() == git(checkout, "rev-parse", "HEAD")
    (checkout / "notes.txt").write_text("untracked")
    assert git_commit() == git(checkout, "rev-parse", "HEAD")


def test_changed_checkout_is_dirty(checkout):
    (checkout / "environment.py").write_text("changed")
    assert git_commit() == git(checkout, "rev-parse", "HEAD") + "+dirty"


def test_source_hash_depends_on_code_files_only(tmp_path, monkeypatch):
    package = tmp_path / "package"
    (package / "training" / "records").mkdir(parents=True)
    (package / "losses.py").write_text("margin = 0.2")
    monkeypatch.setattr(environment, "__file__", str(package / "training" / "records" / "environment.py"))
    now = environment.source_hash.__wrapped__
    first = now()
    (package / "notes.md").write_text("no code")
    assert now() == first
    (package / "losses.py").write_text("margin = 0.3")
    assert now() != first
    (package / "losses.py").rename(package / "loss.py")
    assert now() != first


def test_code_installed_inside_another_checkout_has_no_commit(checkout, monkeypatch):
    site = checkout / ".venv"
    site.mkdir()
    (site / "environment.py").touch()
    monkeypatch.setattr(environment, "__file__", str(site / "environment.py"))
    assert git_commit() is None


def test_commit_is_none_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_commit() is None
