"""Hydra's view of grids and studies; ``tangka_match.sweeps`` does the work."""

# No `from __future__ import annotations` here: Hydra loads this file outside `sys.modules`, where dataclasses that
# postpone their annotations cannot be made.
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from tangka_match.errors import ConfigError

THIS = "hydra_plugins.tangka_match_sweeps.sweepers"


@dataclass
class GridConf:
    """``hydra/sweeper=grid``; ``conf/sweep`` has the settings."""

    _target_: str = f"{THIS}.GridSweeper"


@dataclass
class StudyConf:
    """``hydra/sweeper=study``; ``conf/sweep`` has the settings."""

    _target_: str = f"{THIS}.StudySweeper"
    max_batch_size: int = 1  # trials handed together to a launcher such as submitit_slurm


class _HouseSweeper(Sweeper):
    """Keeps what Hydra hands over."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Of Hydra."""
        from tangka_match.sweeps.session import Session  # noqa: PLC0415 (torch)

        self.session = Session(config, hydra_context, task_function)


class GridSweeper(_HouseSweeper):
    """Every combination of the values on the command line."""

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Run the grid."""
        from tangka_match.sweeps.grid import run_grid  # noqa: PLC0415 (torch)

        return run_grid(self.session, arguments)


class StudySweeper(_HouseSweeper):
    """Optuna's proposals.

    Args:
        max_batch_size: Trials handed together to a launcher that is not ``local_pool``.
    """

    def __init__(self, max_batch_size: int) -> None:
        self._batch_size = max_batch_size

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Run the study.

        Raises:
            ConfigError: If Optuna is not installed.
        """
        try:
            from tangka_match.sweeps.search import run_study  # noqa: PLC0415 (torch, Optuna)
        except ModuleNotFoundError as error:
            if error.name != "optuna":
                raise
            raise ConfigError(
                'hydra/sweeper=study needs Optuna: pip install "tangka-match[sweep]"; a grid does without'
            ) from error
        return run_study(self.session, arguments, self._batch_size)


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridConf, provider="tangka_match")
ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudyConf, provider="tangka_match")
