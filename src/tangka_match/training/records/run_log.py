"""The run's messages, in the terminal and in ``run.log``."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rich
from rich.logging import RichHandler

PROJECT = "tangka_match"


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Send the project's messages to the terminal and to a file, until the block ends.

    The terminal handler writes to rich's own console, so lines go above a progress bar instead of through it.
    """
    project, lightning = logging.getLogger(PROJECT), logging.getLogger("pytorch_lightning")
    terminal = RichHandler(
        console=rich.get_console(), show_path=False, show_level=False, log_time_format="%H:%M:%S", markup=False
    )
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = project.level, project.propagate, lightning.level
    project.setLevel(logging.INFO)
    project.propagate = False
    lightning.setLevel(logging.WARNING)
    for handler in (terminal, file):
        project.addHandler(handler)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 calls what torch 2.13 deprecates; there is nothing a user could do about it.
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")
            # A resumed run writes where it wrote before.
            warnings.filterwarnings("ignore", message=r"Checkpoint directory .* exists and is not empty")
            yield
    finally:
        for handler in (terminal, file):
            project.removeHandler(handler)
        file.close()
        project.setLevel(before[0])
        project.propagate = before[1]
        lightning.setLevel(before[2])
