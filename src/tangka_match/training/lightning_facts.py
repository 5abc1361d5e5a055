"""What Lightning knows and does not declare: which process this one is, and how often it logs."""

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

__all__ = ["is_main_process", "logging_interval", "rank_zero_only"]


def is_main_process() -> bool:
    """Whether this process writes the records: the only one, or the first of a distributed run."""
    return getattr(rank_zero_only, "rank", 0) == 0


def logging_interval(trainer: pl.Trainer) -> int:
    """Optimizer steps between two logged steps."""
    return int(trainer.log_every_n_steps)  # type: ignore[attr-defined]  # set by Lightning's logger connector
