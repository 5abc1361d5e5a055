"""Log messages of a run, in the terminal and in ``run.log``."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rich
from rich.logging import RichHandler

PROJECT = "tangka_match"


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence library warnings that users cannot act on, until the block ends."""
    lightning = logging.getLogger("pytorch_lightning")
    before = lightning.level
    lightning.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 calls functions that torch 2.13 deprecates.
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")
            warnings.filterwarnings("ignore", message=r"torch\.distributed\.nn\.functional\.all_gather is deprecated")
            # A resumed run writes into its existing checkpoint folder.
            warnings.filterwarnings("ignore", message=r"Checkpoint directory .* exists and is not empty")
            # The sampler, not the loader, keeps the position in the epoch, so the run does resume at its next batch.
            unfinished = "You're resuming from a checkpoint that ended before the epoch ended and your dataloader is"
            warnings.filterwarnings("ignore", message=unfinished + r" not resumable\.")
            # Every process validates on the whole split, so their metrics are equal.
            warnings.filterwarnings("ignore", message=r"It is recommended to use .*sync_dist=True")
            # The momentum encoder is in eval mode.
            warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")
            yield
    finally:
        lightning.setLevel(before)


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Log messages of this package to the terminal and to a file, until the block ends.

    The terminal handler uses rich's global console, so that lines are printed above progress bars.
    """
    project = logging.getLogger(PROJECT)
    terminal = RichHandler(
        console=rich.get_console(), show_path=False, show_level=False, log_time_format="%H:%M:%S", markup=False
    )
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = project.level, project.propagate
    project.setLevel(logging.INFO)
    project.propagate = False
    for handler in (terminal, file):
        project.addHandler(handler)
    try:
        yield
    finally:
        for handler in (terminal, file):
            project.removeHandler(handler)
        file.close()
        project.setLevel(before[0])
        project.propagate = before[1]
