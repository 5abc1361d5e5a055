"""Run commands through their command line, in this process (no second import of torch) or in a fresh one."""

import io
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch

from tangka_match.train import main


class Finished(NamedTuple):
    """Exit code and output of a command."""

    code: int
    stdout: str
    stderr: str


def run_cli_in_process(*words: str, main: Callable[[], None] = main) -> Finished:
    """Run ``python -m tangka_match.train <words>`` in this process; environment and log handlers are restored.

    Args:
        words: Arguments of the command line.
        main: Main function of the command.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    code, threads = 0, torch.get_num_threads()
    torch.set_num_threads(1)  # faster when tests run in parallel
    try:
        with (
            mock.patch.dict(os.environ),
            mock.patch.object(sys, "argv", ["train", *words]),
            redirect_stdout(stdout),
            redirect_stderr(stderr),
        ):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        torch.set_num_threads(threads)
        root.handlers[:] = handlers
        root.setLevel(level)
    return Finished(code, stdout.getvalue(), stderr.getvalue())


def run_cli_subprocess(
    *words: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, module: str = "train"
) -> Finished:
    """Run ``python -m tangka_match.<module> <words>`` in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", f"tangka_match.{module}", *words],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def start_training(folder: Path, *words: str) -> "subprocess.Popen[bytes]":
    """Start ``train`` in a process group of its own, and wait until the ledger of a run in ``folder/runs`` has step 8.

    Its output goes to ``folder/output``.
    """
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tangka_match.train", *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + 180
    trained = re.compile(r'"event": "metrics", .*"step": 8\b')
    while not any(trained.search(path.read_text("utf-8")) for path in folder.glob("runs/*/ledger.jsonl")):
        assert process.poll() is None, (folder / "output").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process
