"""Commands of the documentation, run as written on the small demo set; placeholders are filled, runs shortened."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from helpers.cli import run_cli_in_process

ROOT = Path(__file__).parents[2]
SHORT = (
    "data=demo_small",
    "data.writer.thumbnails=false",
    "trainer.max_steps=4",
    "trainer.accelerator=cpu",
    "logger=csv",
)
PAGES = {
    "README.md": (
        "train +experiment=targeted",
        "evaluate checkpoint=checkpoints/targeted",
        "train +experiment=best",
        "compare a=<run id>",
    ),
    "docs/search.md": ("search checkpoint=best.ckpt data.root=<folder> query=",),
    "docs/comparing-runs.md": ("runs", "runs sort=", "runs show=", "report runs="),
    "docs/evaluation.md": (
        "evaluate checkpoint=best.ckpt data.root=<folder> split=test out=evaluation",
        "compare a=<run id>",
    ),
    "docs/diagnosis.md": ("diagnose data.root=<folder> out=diagnosis", "diagnose data.root=<folder> run=last"),
}
"""Prefixes, after ``python -m tangka_match.``, of the commands that run in seconds."""


def commands(page):
    lines = (ROOT / page).read_text("utf-8").splitlines()
    found = [
        line.partition("python -m tangka_match.")[2] for line in lines if line.startswith("python -m tangka_match.")
    ]
    return [command for begin in PAGES[page] for command in found if command.startswith(begin)]


def run(command, ids):
    """Run one command of a page, with the ids of existing runs in place of placeholders."""
    command = command.replace("data/demo ", "data/demo_small ").replace(
        "data.root=<folder>", "data.root=data/demo_small"
    )
    if ids:
        command = command.replace("<run id>", ids[0])
        best = f"checkpoints/targeted/{ids[0]}/best.ckpt"
        command = re.sub(r"=best\.ckpt", f"={best}", command)
    module, *words = shlex.split(command, comments=True)
    if module == "train":
        words += SHORT
    return run_cli_in_process(*words, main=import_module(f"tangka_match.{module}").main)


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_run_as_written(page, demo_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(demo_data)
    if page != "README.md":
        assert run("train +experiment=targeted", []).code == 0
    listed = commands(page)
    assert len(listed) >= len(PAGES[page])
    for command in listed:
        ids = sorted(path.name for path in (tmp_path / "runs").glob("*-*-*-*")) if (tmp_path / "runs").exists() else []
        done = run(command, ids)
        assert done.code == 0, f"{command}\n{done.stderr}"
        assert done.stdout.strip(), command
