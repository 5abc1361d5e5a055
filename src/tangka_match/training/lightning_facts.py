"""What Lightning knows and does not declare: which process this one is, and how often it logs."""

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

__all__ = ["is_logged_step", "is_main_process", "rank_zero_only"]


def is_main_process() -> bool:
    """Whether this process writes the records: the only one, or the first of a distributed run."""
    return getattr(rank_zero_only, "rank", 0) == 0


def is_logged_step(trainer: pl.Trainer, step: int) -> bool:
    """Whether Lightning writes down what is logged in an optimizer step, counted from 0: the last of every n.

    What is logged in another step reaches the records late, under the number of a later step, or not at all.
    """
    interval = int(trainer.log_every_n_steps)  # type: ignore[attr-defined]  # set by Lightning's logger connector
    return (step + 1) % interval == 0
