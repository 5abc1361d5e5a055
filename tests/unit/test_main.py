import contextlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tangka_match
from tangka_match import __main__ as entry

ROOT = Path(__file__).parents[2]


def test_commands_are_the_console_scripts():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert sorted(f"tangka_match.{name}:main" for name in entry.COMMANDS) == sorted(scripts.values())


def test_list_has_one_line_per_command_and_imports_no_torch():
    script = "import sys, tangka_match.__main__ as entry; entry.main(); assert not {'torch', 'hydra'} & {*sys.modules}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith("  ")]
    assert [name for name, _ in lines] == list(entry.COMMANDS)
    assert all(summary.endswith(".") for _, summary in lines)


def test_command_is_run_with_the_remaining_arguments(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tangka_match", "runs", "runs=/nowhere"])
    with pytest.raises(SystemExit) as end:
        entry.main()
    assert end.value.code == 2
    assert "/nowhere: no such folder" in capsys.readouterr().err


def test_unknown_command_exits_with_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tangka_match", "trian"])
    with pytest.raises(SystemExit) as end:
        entry.main()
    assert end.value.code == 2
    assert "trian: there is no such command" in capsys.readouterr().err


def test_command_modules_import_no_torch():
    script = (
        "import importlib, sys; [importlib.import_module(f'tangka_match.{name}') for name in sys.argv[1:]]; "
        "assert not {'torch', 'pytorch_lightning', 'wandb', 'scipy'} & {*sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", script, *entry.COMMANDS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_names_the_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tangka_match", "compare", "--help"])
    with contextlib.suppress(SystemExit):
        entry.main()
    assert capsys.readouterr().out.startswith("compare is powered by Hydra.")


def test_messages_name_existing_commands():
    """A message that says ``python -m tangka_match.<command>`` names a module."""
    package = Path(tangka_match.__file__).parent
    named = {
        (path.name, name)
        for path in package.rglob("*.py")
        for name in re.findall(r"python -m tangka_match\.([a-z_]+)", path.read_text("utf-8"))
    }
    assert len(named) > 10
    assert {name for _, name in named} <= {path.stem for path in package.glob("*.py")}
