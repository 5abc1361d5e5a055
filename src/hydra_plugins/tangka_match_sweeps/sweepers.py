"""Sweeper plug-ins ``hydra/sweeper=grid`` and ``study``, implemented in ``tangka_match.sweeps``."""

# No `from __future__ import annotations`: Hydra loads this file outside `sys.modules`, where dataclasses cannot resolve
# postponed annotations.
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from tangka_match.errors import ConfigError

MODULE = "hydra_plugins.tangka_match_sweeps.sweepers"


@dataclass
class GridConf:
    """Settings of ``hydra/sweeper=grid``; those of the sweep itself are in ``conf/sweep``."""

    _target_: str = f"{MODULE}.GridSweeper"


@dataclass
class StudyConf:
    """Settings of ``hydra/sweeper=study``; those of the sweep itself are in ``conf/sweep``."""

    _target_: str = f"{MODULE}.StudySweeper"
    max_batch_size: int = 1  # trials per call of a launcher such as submitit_slurm


class _BaseSweeper(Sweeper):
    """Base class of both sweepers, which passes the arguments of ``setup`` to a `Session`."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Create the session."""
        from tangka_match.sweeps.session import Session  # noqa: PLC0415 - imports torch

        self.session = Session(config, hydra_context, task_function)


class GridSweeper(_BaseSweeper):
    """Sweeper that runs every combination of the values on the command line."""

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Run the grid."""
        from tangka_match.sweeps.grid import run_grid  # noqa: PLC0415 - imports torch

        return run_grid(self.session, arguments)


class StudySweeper(_BaseSweeper):
    """Sweeper that runs trials proposed by Optuna.

    Args:
        max_batch_size: Number of trials per launcher call, for any launcher except ``local_pool``.
    """

    def __init__(self, max_batch_size: int) -> None:
        self._batch_size = max_batch_size

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Run the study.

        Raises:
            ConfigError: If Optuna is not installed.
        """
        try:
            from tangka_match.sweeps.search import run_study  # noqa: PLC0415 - imports torch and Optuna
        except ModuleNotFoundError as error:
            if error.name != "optuna":
                raise
            raise ConfigError(
                'hydra/sweeper=study needs Optuna: pip install "tangka-match[sweep]" (a grid does not need it)'
            ) from error
        return run_study(self.session, arguments, self._batch_size)


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridConf, provider="tangka_match")
ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudyConf, provider="tangka_match")
