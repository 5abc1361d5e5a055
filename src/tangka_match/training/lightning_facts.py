"""What Lightning knows and does not declare: which process this one is, who started it, and how often it logs."""

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.utilities import rank_zero_only

from tangka_match.errors import ConfigError

__all__ = ["is_logged_step", "is_main_process", "processes_started", "rank_zero_only"]


def is_main_process() -> bool:
    """Whether this process writes the records: the only one, or the first of a distributed run."""
    return getattr(rank_zero_only, "rank", 0) == 0


def processes_started() -> int:
    """How many processes ``torchrun`` or ``srun`` started together with this one; 1 where Lightning starts them.

    Raises:
        ConfigError: If SLURM's variables do not fit what Lightning asks of them.
    """
    for environment in (TorchElasticEnvironment, SLURMEnvironment):
        if environment.detect():
            try:
                return environment().world_size()
            except RuntimeError as error:
                raise ConfigError(f"{environment.__name__}: {error}") from error
    return 1


def is_logged_step(trainer: pl.Trainer, step: int) -> bool:
    """Whether Lightning writes what is logged in an optimizer step, counted from 0: the last of every n, and of all.

    What is logged in another step reaches the records late, under the number of a later step, or not at all.
    """
    interval = int(trainer.log_every_n_steps)  # type: ignore[attr-defined]  # set by Lightning's logger connector
    return (step + 1) % interval == 0 or step + 1 >= trainer.estimated_stepping_batches
