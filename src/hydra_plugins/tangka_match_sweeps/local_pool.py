"""Hydra's view of ``hydra/launcher=local_pool``: several jobs of a sweep at a time on this machine."""

# No `from __future__ import annotations` here, as in sweepers.py.
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
    """Settings of the pool."""

    _target_: str = "hydra_plugins.tangka_match_sweeps.local_pool.LocalPoolLauncher"
    processes: Optional[int] = None  # noqa: UP045  # OmegaConf reads it; jobs at a time; null: one a place on a GPU
    gpus: list[int] | None = None  # indices; null: every GPU of this machine
    trials_per_gpu: int = 1


class LocalPoolLauncher(Launcher):
    """One process a job.

    Args:
        processes: Jobs at a time; ``None`` takes a place on a GPU each, or half the cores where there is none.
        gpus: Indices of those to use; ``None`` takes every one.
        trials_per_gpu: Jobs that share a GPU.
    """

    def __init__(self, processes: int | None, gpus: list[int] | None, trials_per_gpu: int) -> None:
        self._settings = {"processes": processes, "gpus": gpus, "trials_per_gpu": trials_per_gpu}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Count the GPUs and make the pool."""
        from tangka_match.sweeps.pool import SideBySide  # noqa: PLC0415 (torch)

        self._jobs = SideBySide(config, **self._settings)  # type: ignore[arg-type]

    @property
    def slots(self) -> int:
        """Jobs at a time."""
        return self._jobs.slots

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all of them; returns when the last has ended."""
        return self._jobs.run_all(job_overrides)

    def end_all(self) -> None:
        """Ask every job to stop, and wait for it."""
        self._jobs.end_all()


ConfigStore.instance().store(group="hydra/launcher", name="local_pool", node=LocalPoolConf, provider="tangka_match")
