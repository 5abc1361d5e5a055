"""Launcher plug-in ``hydra/launcher=local_pool``: several jobs of a sweep at a time on this machine."""

# No `from __future__ import annotations`, for the reason given in sweepers.py.
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class LocalPoolConf:
    """Settings of the launcher."""

    _target_: str = "hydra_plugins.tangka_match_sweeps.local_pool.LocalPoolLauncher"
    processes: Optional[int] = None  # noqa: UP045  # OmegaConf reads this type; jobs at a time, null: one per GPU slot
    gpus: list[int] | None = None  # indices of the GPUs to use, null: all
    trials_per_gpu: int = 1


class LocalPoolLauncher(Launcher):
    """Launcher that runs each job in a process of its own.

    Args:
        processes: Jobs at a time; ``None`` for one per GPU slot, or half the number of cores without a GPU.
        gpus: Indices of the GPUs to use; ``None`` for all.
        trials_per_gpu: Jobs that share a GPU.
    """

    def __init__(self, processes: int | None, gpus: list[int] | None, trials_per_gpu: int) -> None:
        self._settings = {"processes": processes, "gpus": gpus, "trials_per_gpu": trials_per_gpu}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Create the pool."""
        from tangka_match.sweeps.pool import LocalPool  # noqa: PLC0415 - imports torch

        self._pool = LocalPool(config, **self._settings)  # type: ignore[arg-type]

    @property
    def slots(self) -> int:
        """Jobs at a time."""
        return self._pool.slots

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs, and return when the last one has ended."""
        return self._pool.run_all(job_overrides)

    def end_all(self) -> None:
        """Ask every job to stop, and wait for it."""
        self._pool.end_all()


ConfigStore.instance().store(group="hydra/launcher", name="local_pool", node=LocalPoolConf, provider="tangka_match")
