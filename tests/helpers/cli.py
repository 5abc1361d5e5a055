"""Runs the real command line, in this process where importing torch again would cost seconds, or in a fresh one."""

import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch

from tangka_match.train import main


class Finished(NamedTuple):
    """What a command left behind: exit code, and what it wrote."""

    code: int
    stdout: str
    stderr: str


def run_cli_in_process(*words: str, main: Callable[[], None] = main) -> Finished:
    """``python -m tangka_match.train <words>`` inside this process; environment and log handlers are put back.

    Args:
        words: Of the command line.
        main: Of the entry point.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    code, threads = 0, torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine, threads that wait for each other cost more than they gain
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
    """``python -m tangka_match.<module> <words>`` in a fresh interpreter."""
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
